// Keys for the operators beside this file; plain script, loaded by the App as it stands.
// These letters are free in the grid, the viewer and the editor of FiftyOne 1.22.
(() => {
  const operators = { y: "accept", n: "reject", u: "fix" };
  const typing = (element) =>
    element && (element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName));
  window.addEventListener("keydown", (event) => {
    const operator = operators[event.key.toLowerCase()];
    if (!operator || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (typing(event.target)) return;
    event.preventDefault();
    window.__foo__.executeOperator(`@annotate/decide/${operator}`, { track: event.shiftKey });
  });
})();
