// Sorts the table of all trials by the column whose heading is pressed; without this script it is
// a table all the same, in the order of the trials.
document.documentElement.classList.add("js");
const table = document.getElementById("trials");
const headings = table ? [...table.tHead.rows[0].cells] : [];
headings.forEach((heading, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const down = heading.ariaSort === "ascending";
    const isNumber = heading.classList.contains("number");
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const missing = (text) => text === "" || text === "-";
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      const order = isNumber ? Number(a) - Number(b) : a.localeCompare(b);
      return down ? -order : order;
    });
    body.replaceChildren(...rows.map(([, row]) => row));
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.ariaSort = down ? "descending" : "ascending";
  });
});
