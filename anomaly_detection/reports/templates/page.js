"use strict";
// Tables that sort, filter and go out as CSV. Without this script they are whole all the same.
const textOf = (cell) => (cell.dataset.value ?? cell.textContent).trim().replace(/\s+/g, " ");

const quoted = (text) => {
  // A spreadsheet would run a text that begins like a formula.
  const safe = /^[=+@\t\r]/.test(text) || (text.startsWith("-") && Number.isNaN(Number(text))) ? "'" + text : text;
  return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
};

const make = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

const compare = (a, b) => {
  if (a === b) return 0;
  if (a === "" || a === "-") return 1;
  if (b === "" || b === "-") return -1;
  const numbers = [Number(a), Number(b)];
  return numbers.some(Number.isNaN) ? a.localeCompare(b, undefined, { numeric: true }) : numbers[0] - numbers[1];
};

for (const table of document.querySelectorAll("table.live")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const first = Number(table.dataset.first);
  let whole = rows.length <= first;

  const search = make("input", { type: "search", placeholder: "Filter", ariaLabel: "Show rows with this text" });
  const reasons = make("select", { ariaLabel: "Show rows with this leading column" }, make("option", { value: "", textContent: "All reasons" }));
  for (const name of [...new Set(rows.map((row) => row.dataset.column))].filter(Boolean).sort()) {
    reasons.append(make("option", { value: name, textContent: name }));
  }
  const told = make("output");
  const save = make("button", { type: "button", textContent: "Save as CSV" });
  const more = make("button", { type: "button", className: "more" });
  const texts = rows.map((row) => row.textContent.toLowerCase());

  const chosen = () => {
    const wanted = search.value.trim().toLowerCase();
    return new Set(rows.filter((row, i) => (!wanted || texts[i].includes(wanted)) && (!reasons.value || row.dataset.column === reasons.value)));
  };
  const show = () => {
    const some = chosen();
    let left = whole ? Infinity : first;
    for (const row of body.rows) row.hidden = !some.has(row) || left-- <= 0;
    told.textContent = `${some.size} of ${rows.length}`;
    more.hidden = whole || some.size <= first;
    more.textContent = `Show all ${some.size}`;
  };
  search.addEventListener("input", show);
  reasons.addEventListener("change", show);
  more.addEventListener("click", () => {
    whole = true;
    show();
  });
  save.addEventListener("click", () => {
    const some = chosen();
    const lines = [heads.map((head) => textOf(head)), ...[...body.rows].filter((row) => some.has(row)).map((row) => [...row.cells].map(textOf))];
    const text = "\ufeff" + lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: table.id + ".csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  heads.forEach((head, place) => {
    const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => sign * compare(textOf(a.cells[place]), textOf(b.cells[place]))));
      show();
    });
  });

  table.before(make("div", { className: "tools" }, search, reasons, save, told));
  table.after(more);
  show();
}

// A link to a record that is not shown yet shows it.
const reveal = () => {
  const row = location.hash && document.getElementById(location.hash.slice(1));
  if (row && row.hidden) row.hidden = false;
  if (row) row.scrollIntoView();
};
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => {
  for (const row of document.querySelectorAll("table.live tbody tr")) row.hidden = false;
});
