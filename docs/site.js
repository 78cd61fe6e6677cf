// What the theme leaves out for those who use a keyboard or a screen reader. It adds some of these
// elements itself, after the page has been read.
function mend() {
  document.querySelectorAll(".md-search[role=dialog]:not([aria-label])").forEach((one) => one.setAttribute("aria-label", "Search"));
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((one) => one.setAttribute("tabindex", "0"));
}
mend();
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
