// Draws each chart when it comes into view, in the reader's light or dark colours. Expressions are
// interpreted, not compiled, so that the page's policy can forbid code that is not its own.
const specs = JSON.parse(document.getElementById("specs").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink");
function draw(place) {
  const spec = specs[Number(place.dataset.chart)];
  const color = ink();
  const config = {
    background: null,
    axis: { labelColor: color, titleColor: color, gridOpacity: 0.25, domainColor: color, tickColor: color },
    legend: { labelColor: color, titleColor: color, orient: "bottom", symbolOpacity: 1, symbolBaseFillColor: color, symbolBaseStrokeColor: color },
    text: { color },
    view: { stroke: null },
  };
  vegaEmbed(place, { ...spec, config }, { ast: true, actions: false, renderer: "canvas", tooltip: { theme: dark.matches ? "dark" : "light" } })
    .then(() => { place.style.minHeight = "0"; });
}
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }
}, { rootMargin: "300px" });
const places = document.querySelectorAll("[data-chart]");
places.forEach((place) => seen.observe(place));
dark.addEventListener("change", () => places.forEach((place) => { if (place.childElementCount) draw(place); }));
