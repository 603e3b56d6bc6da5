"use strict";
const text = (tag, content, className = "") => {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
};
const grouped = (n) => n.toLocaleString("en-US");

// Tables: a click on a heading sorts by its column, another one the other way round.
function valueOf(cell) {
  const said = cell.dataset.v ?? cell.textContent.trim();
  if (said === "" || said === "-") return null;
  const number = Number(said.replaceAll(",", "").replace("\u2212", "-"));
  return Number.isNaN(number) ? said.toLowerCase() : number;
}
function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}
function sort(table, heading) {
  const column = heading.cellIndex;
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
  const numbers = rows.some(([value]) => typeof value === "number");
  const before = heading.getAttribute("aria-sort");
  const down = before ? before === "ascending" : numbers;  // figures begin with the largest
  rows.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null);  // last, always
    return down ? compare(other, one) : compare(one, other);
  });
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    if (!heading.textContent || "unsorted" in heading.dataset) continue;
    const button = text("button", heading.textContent);
    button.type = "button";
    button.addEventListener("click", () => sort(table, heading));
    heading.replaceChildren(button);
  }
}

// The threshold: what another one keeps of every class, and what that is worth.
const sweep = JSON.parse(document.getElementById("sweep").textContent);
const slider = document.getElementById("threshold");
const at = (series, step) => (Array.isArray(series) ? series[step] ?? 0 : series ?? 0);
const share = (part, whole) => (whole ? (part / whole).toFixed(3) : "-");
const signed = (n) => (n > 0 ? "+" : n < 0 ? "\u2212" : "") + grouped(Math.abs(n));
const rows = sweep.classes.map((of) => {
  const name = document.createElement("th");
  name.scope = "row";
  name.append(text("span", of.name));
  const cells = Array.from({ length: sweep.judged ? 6 : 4 }, () => document.createElement("td"));
  cells[1].textContent = grouped(of.now);
  const row = document.createElement("tr");
  row.append(name, ...cells);
  document.getElementById("sweep-rows").append(row);
  return [of, cells];
});
function show() {
  const step = Number(slider.value);
  const chosen = (step / 100).toFixed(2);
  let now = 0, then = 0, found = 0, right = 0, objects = 0;
  for (const [of, cells] of rows) {
    const kept = at(of.kept, step);
    now += of.now;
    then += kept;
    cells[0].textContent = of.own ? of.from.toFixed(2) + " (own)" : chosen;
    cells[0].dataset.v = of.own ? of.from : chosen;
    cells[2].textContent = grouped(kept);
    cells[3].textContent = signed(kept - of.now);
    if (!sweep.judged) continue;
    const known = of.objects !== undefined;
    cells[4].textContent = known ? share(at(of.right, step), at(of.found, step)) : "-";
    cells[5].textContent = known ? share(at(of.right, step), of.objects) : "-";
    found += at(of.found, step);
    right += at(of.right, step);
    objects += of.objects ?? 0;
  }
  let said = `${chosen} keeps ${grouped(then)} instances (${then === now ? "as now" : signed(then - now)})`;
  if (sweep.judged) said += `, precision ${share(right, found)}, recall ${share(right, objects)}`;
  document.getElementById("sweep-total").textContent = said;
  document.getElementById("sweep-command").textContent = sweep.command + chosen;
  for (const line of document.querySelectorAll(".curve .at")) {
    line.setAttribute("x1", 30 + 3.4 * step);
    line.setAttribute("x2", 30 + 3.4 * step);
  }
}
slider.addEventListener("input", show);
slider.value = sweep.start;
document.getElementById("sweep-script").hidden = false;
show();
