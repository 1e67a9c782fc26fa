// Sorts and copies tables, shows the values of figures, hides series, switches colours. The page works without it.
"use strict";

// ---- Theme: system, light or dark. Set before anything is drawn.

const THEME = "spikeloom-theme";

function keptTheme() {
  try {
    return localStorage.getItem(THEME) || "system";
  } catch {
    return "system"; // Some browsers store nothing for local files.
  }
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    // The theme is kept until the page is closed.
  }
}

setTheme(keptTheme());

function addThemeSwitch() {
  const group = make("div", { className: "themes", role: "group", ariaLabel: "Colours" });
  for (const theme of ["system", "light", "dark"]) {
    const button = make("button", { type: "button", textContent: theme, ariaPressed: String(theme === keptTheme()) });
    button.addEventListener("click", () => {
      setTheme(theme);
      for (const other of group.children) other.ariaPressed = String(other === button);
    });
    group.append(button);
  }
  document.querySelector("header").prepend(group);
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

// ---- Tables: a click on a header sorts ascending, a second one descending, a third restores the original order.

const NUMBER = /^[≤≥<>≈~ ]*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])/i;
const MISSING = /^(?:[–—-]?|missing|none|nan)$/i;
const natural = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function sortKey(word) {
  const text = word.trim().replaceAll("−", "-");
  const found = NUMBER.exec(text)?.[1];
  return { text, missing: MISSING.test(text), number: found && /\d/.test(found) ? Number(found.replaceAll(",", "")) : NaN };
}

function addSorting(table) {
  const body = table.tBodies[0];
  const written = [...body.rows].filter((row) => !row.classList.contains("summary"));
  const summary = [...body.rows].filter((row) => row.classList.contains("summary"));
  if (written.length < 2) return;
  const headers = [...table.tHead.rows[0].cells];

  headers.forEach((header, column) => {
    const button = make("button", { type: "button", title: "Sort" });
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[header.ariaSort];
      const order = next === undefined ? "ascending" : next;
      for (const other of headers) other.ariaSort = null;
      header.ariaSort = order;
      body.append(...(order ? sorted(written, column, order === "ascending" ? 1 : -1) : written), ...summary);
    });
  });
}

function sorted(rows, column, sign) {
  const keyed = rows.map((row) => ({ row, key: sortKey(row.cells[column].textContent) }));
  const numbers = keyed.every(({ key }) => key.missing || !Number.isNaN(key.number));
  const compare = (a, b) => (numbers ? a.number - b.number : natural.compare(a.text, b.text));
  // Missing values are last in both directions.
  keyed.sort((a, b) => a.key.missing - b.key.missing || (a.key.missing ? 0 : sign * compare(a.key, b.key)));
  return keyed.map(({ row }) => row);
}

// ---- Copies of a table, with its rows in the shown order.

const words = (row) => [...row.cells].map((cell) => cell.textContent.trim());

const FORMATS = {
  Markdown: ({ columns, align, rows }) => {
    const line = (cells) => `| ${cells.map((word) => word.replaceAll("|", "\\|")).join(" | ")} |\n`;
    return [columns, align.map((side) => (side === "r" ? "--:" : "---")), ...rows].map(line).join("");
  },
  LaTeX: ({ title, note, columns, align, rows, summary }) => {
    const known = JSON.parse(document.getElementById("latex-escapes").textContent);
    const escape = (text) => [...text].map((letter) => known[letter] ?? letter).join("");
    const line = (cells) => `    ${cells.map(escape).join(" & ")} \\\\`;
    const body = rows.map(line);
    if (summary > 0 && summary < rows.length) body.splice(-summary, 0, "    \\midrule");
    return [
      "\\begin{table}",
      "  \\centering",
      `  \\caption{${escape(title)}}`,
      `  \\begin{tabular}{${align.join("")}}`,
      "    \\toprule",
      line(columns),
      "    \\midrule",
      ...body,
      "    \\bottomrule",
      "  \\end{tabular}",
      ...(note ? [`  \\par\\smallskip{\\footnotesize ${escape(note)}}`] : []),
      "\\end{table}\n",
    ].join("\n");
  },
  CSV: ({ columns, rows }) => {
    const cell = (word) => (/[",\n]/.test(word) ? `"${word.replaceAll('"', '""')}"` : word);
    return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
  },
};

function addCopying(box, table) {
  const bar = make("div", { className: "copies", textContent: "Copy as " });
  const status = make("span", { role: "status" });
  const headers = [...table.tHead.rows[0].cells];
  for (const [name, format] of Object.entries(FORMATS)) {
    const button = make("button", { type: "button", textContent: name });
    button.addEventListener("click", async () => {
      const text = format({
        title: box.dataset.title,
        note: box.dataset.note,
        columns: words(table.tHead.rows[0]),
        align: headers.map((header) => header.className),
        rows: [...table.tBodies[0].rows].map(words),
        summary: table.querySelectorAll("tr.summary").length,
      });
      status.textContent = (await copy(text)) ? "Copied." : "This browser does not allow copying.";
      setTimeout(() => (status.textContent = ""), 3000);
    });
    bar.append(button);
  }
  bar.append(status);
  const note = box.nextElementSibling;
  const under = make("div", { className: "under" });
  box.after(under);
  if (note?.classList.contains("note")) under.append(note);
  under.append(bar);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, className: "aside" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// ---- Figures: the values of the nearest point, by pointer, touch or arrow keys.

const tip = make("div", { className: "tip", hidden: true, role: "status" });
const REACH = 64; // The largest distance in screen pixels from the pointer to the point that is shown.
let placeAgain = null; // Moves the tip back to its point; null while none is shown.

function addHover(box) {
  const data = JSON.parse(box.querySelector("script.values").textContent);
  const drawn = box.querySelector("svg, img");
  const mark = box.appendChild(make("div", { className: "mark-point", hidden: true }));
  const hidden = new Set();
  const spots = data.axes.flatMap((axes) => axes.series.flatMap((series) => spotsOf(axes, series)));
  const visible = () => spots.filter((spot) => !hidden.has(spot.series.colour));
  let current = null;

  // Screen pixels by unit of the drawing, which fills its element.
  const scale = () => {
    const frame = drawn.getBoundingClientRect();
    const width = drawn.viewBox ? drawn.viewBox.baseVal.width : data.width;
    const height = drawn.viewBox ? drawn.viewBox.baseVal.height : data.height;
    return { frame, x: frame.width / width, y: frame.height / height };
  };
  const show = (spot) => {
    current = spot;
    const { frame, x, y } = scale();
    const around = box.getBoundingClientRect();
    const [left, top] = [frame.left + spot.x * x, frame.top + spot.y * y];
    const size = spot.box ? [(spot.box[2] - spot.box[0]) * x, (spot.box[3] - spot.box[1]) * y] : [12, 12];
    mark.className = spot.box ? "mark-point cell" : "mark-point";
    Object.assign(mark.style, {
      left: `${left - around.left + box.scrollLeft - size[0] / 2}px`,
      top: `${top - around.top - size[1] / 2}px`,
      width: `${size[0]}px`,
      height: `${size[1]}px`,
      borderColor: spot.box ? "" : spot.series.colour,
    });
    mark.hidden = false;
    tip.replaceChildren(...tipLines(spot, visible()));
    placeTip(left, top, size[1] / 2);
    placeAgain = () => show(spot);
  };
  const hide = () => {
    if (current) placeAgain = null;
    current = null;
    mark.hidden = true;
    tip.hidden = true;
  };
  const point = (event) => {
    const { frame, x, y } = scale();
    const spot = nearest(visible(), (event.clientX - frame.left) / x, (event.clientY - frame.top) / y, x, y);
    if (spot) show(spot);
    else hide();
  };
  drawn.addEventListener("pointermove", point);
  drawn.addEventListener("pointerdown", point);
  drawn.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  box.addEventListener("blur", hide);
  box.tabIndex = 0;
  box.setAttribute("role", "group"); // An image would hide the legend's buttons from screen readers.
  box.addEventListener("keydown", (event) => {
    const next = event.target === box && step(visible(), current, event.key);
    if (event.key === "Escape") hide();
    if (!next) return;
    event.preventDefault();
    show(next);
  });
  for (const toggle of data.toggles ?? []) addToggle(toggle, data, hidden, hide);
}

function spotsOf(axes, series) {
  return series.at.map((at) => {
    if (series.kind !== "cells") return { axes, series, x: at[0], y: at[1], words: at.slice(2) };
    return { axes, series, x: (at[0] + at[2]) / 2, y: (at[1] + at[3]) / 2, box: at.slice(0, 4), words: at.slice(4) };
  });
}

function nearest(spots, x, y, scaleX, scaleY) {
  let [best, least] = [null, REACH];
  for (const spot of spots) {
    if (spot.box) {
      if (x >= spot.box[0] && x <= spot.box[2] && y >= spot.box[1] && y <= spot.box[3]) return spot;
      continue;
    }
    const distance = Math.hypot((spot.x - x) * scaleX, (spot.y - y) * scaleY);
    if (distance < least) [best, least] = [spot, distance];
  }
  return best;
}

// Left and right move along a series (a row of cells), up and down to the next one, Home and End to its ends.
function step(spots, current, key) {
  if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key)) return null;
  if (!current) return spots[0] ?? null;
  const beside = (spot) => spot.axes === current.axes;
  const along = spots
    .filter((spot) => spot.series === current.series && (!spot.box || spot.y === current.y))
    .sort((a, b) => a.x - b.x);
  const place = along.indexOf(current);
  if (key === "ArrowRight") return along[place + 1] ?? firstOfNextAxes(spots, current) ?? current;
  if (key === "ArrowLeft") return along[Math.max(0, place - 1)];
  if (key === "Home") return along[0];
  if (key === "End") return along.at(-1);
  const sign = key === "ArrowDown" ? 1 : -1;
  const others = spots.filter((spot) => beside(spot) && sign * (spot.y - current.y) > 0.5 && !along.includes(spot));
  const far = (spot) => 4 * Math.abs(spot.x - current.x) + Math.abs(spot.y - current.y);
  return others.sort((a, b) => far(a) - far(b))[0] ?? current;
}

function firstOfNextAxes(spots, current) {
  const all = [...new Set(spots.map((spot) => spot.axes))];
  const next = all[all.indexOf(current.axes) + 1];
  return spots.find((spot) => spot.axes === next);
}

// The spots that share a tip: for curves, every curve at this x; for points, all points at the same position.
function tipLines(spot, spots) {
  const curve = spot.series.kind === "line";
  const same = (other) =>
    other.axes === spot.axes &&
    other.series.kind === spot.series.kind &&
    (curve ? other.series.name && other.words[0] === spot.words[0] : other.x === spot.x && other.y === spot.y);
  const shown = curve && spot.series.name ? spots.filter(same) : [spot, ...spots.filter((other) => other !== spot && same(other))];
  const unique = shown.filter((other, k) => !curve || shown.findIndex((one) => one.series === other.series) === k);
  const { x, y } = spot.axes;
  const where = [[x, spot.words[0]], spot.box ? [y, spot.words[1]] : [curve ? y : ""]];
  const said = where.map((pair) => pair.filter(Boolean).join(" ")).filter(Boolean);
  const lines = [make("p", { className: "where", textContent: said.join(" · ") })];
  for (const one of unique.slice(0, 8)) {
    const line = make("p", {});
    line.append(make("span", { className: "swatch", hidden: Boolean(spot.box) }));
    line.firstChild.style.background = one.series.colour;
    const [, value, ...more] = one.words;
    const named = curve ? [one.series.name, value].filter(Boolean).join(" ") : one.series.name;
    const parts = spot.box || curve ? [named, ...more] : [named, y ? `${y}: ${value}` : value, ...more];
    line.append(parts.filter(Boolean).join(" · "));
    lines.push(line);
  }
  if (unique.length > 8) lines.push(make("p", { textContent: `and ${unique.length - 8} more` }));
  return lines;
}

function placeTip(left, top, above) {
  tip.hidden = top < 0 || top > innerHeight; // Scrolled away.
  const { width, height } = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 8;
  const over = top - above - height - 8;
  tip.style.left = `${Math.max(8, Math.min(room, left - width / 2))}px`;
  tip.style.top = `${over > 0 ? over : top + above + 8}px`;
}

// A click on an entry of a legend hides its marks, and its lines in the tips.
function addToggle(toggle, data, hidden, hide) {
  const find = (ids) => ids.map((id) => document.getElementById(id)).filter(Boolean);
  const [entry, marks] = [find(toggle.entry), find(toggle.marks)];
  const label = entry.at(-1);
  const name = label.textContent.trim();
  const series = data.axes.flatMap((axes) => axes.series).find((one) => one.name === name);
  if (!series) return;
  let on = true;
  const flip = () => {
    on = !on;
    for (const mark of marks) mark.style.display = on ? "" : "none";
    for (const part of entry) part.style.opacity = on ? "" : "0.35";
    label.setAttribute("aria-pressed", String(on));
    if (on) hidden.delete(series.colour);
    else hidden.add(series.colour);
    hide();
  };
  for (const part of entry) {
    part.style.cursor = "pointer";
    part.addEventListener("click", flip);
  }
  for (const [name, value] of [["role", "button"], ["tabindex", "0"], ["aria-pressed", "true"]]) label.setAttribute(name, value);
  label.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    flip();
  });
}

// ---- Printing: all details are opened, because paper cannot be clicked.

function openForPrint() {
  const closed = [...document.querySelectorAll("details:not([open])")];
  for (const part of closed) part.open = true;
  addEventListener("afterprint", () => closed.forEach((part) => (part.open = false)), { once: true });
}

document.addEventListener("DOMContentLoaded", () => {
  addThemeSwitch();
  document.body.append(tip);
  for (const box of document.querySelectorAll(".table")) {
    addCopying(box, box.querySelector("table"));
    addSorting(box.querySelector("table"));
  }
  for (const values of document.querySelectorAll("script.values")) addHover(values.parentElement);
  addEventListener("beforeprint", openForPrint);
  // When the page (or, on a phone, a figure) scrolls, the tip follows: a focused figure that scrolls into view keeps it.
  addEventListener("scroll", () => placeAgain?.(), { passive: true, capture: true });
});
