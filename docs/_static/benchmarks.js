// Sort, filter and compare the table of measured times.  Without this script it is a plain table.
"use strict";

(() => {
  const box = document.querySelector(".benchmark-results");
  if (!box) return;
  const [PROCESSOR, OPERATION, SHAPE, DTYPE, OURS, PEER, THEIRS, RATIO] = [0, 1, 2, 3, 4, 5, 6, 7];
  const table = box.querySelector("table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({
    row,
    times: JSON.parse(row.dataset.times),
    best: row.cells[PEER].textContent,
  }));

  const digits = (x) => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));
  const values = (column) => [...new Set(rows.map((r) => r.row.cells[column].textContent))];

  // ---- The controls ----
  const controls = document.createElement("form");
  controls.className = "benchmark-controls";
  controls.addEventListener("submit", (event) => event.preventDefault());

  function labelled(text, input) {
    const label = document.createElement("label");
    label.append(text, input);
    controls.append(label);
    input.addEventListener("input", update);
    return input;
  }

  function choice(text, options, first) {
    const select = document.createElement("select");
    for (const option of [first, ...options]) select.add(new Option(option, option));
    return labelled(text, select);
  }

  const ALL = "all";
  const BEST = "the best of each";
  const peers = [...new Set(rows.flatMap((r) => Object.keys(r.times)))];
  const processor = choice("Processor", values(PROCESSOR), ALL);
  const operation = choice("Operation", values(OPERATION), ALL);
  const dtype = choice("Dtype", values(DTYPE), ALL);
  const peer = choice("Compared with", peers.filter((name) => name !== "smcore"), BEST);
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "such as 4096";
  labelled("Shape contains", search);

  const status = document.createElement("p");
  status.className = "benchmark-status";
  status.setAttribute("role", "status");
  box.prepend(controls, status);

  // ---- What is shown ----
  function fill({ row, times, best }) {
    const name = peer.value === BEST ? best : peer.value;
    const has = name in times;
    row.cells[PEER].textContent = name;
    row.cells[THEIRS].textContent = has ? digits(times[name]) : "";
    const ratio = has ? times[name] / times.smcore : null;
    row.cells[RATIO].textContent = has ? ratio.toFixed(2) : "";
    row.classList.toggle("behind", has && ratio < 1);
    return ratio;
  }

  function fits({ row }) {
    const is = (column, input) =>
      input.value === ALL || row.cells[column].textContent === input.value;
    const wanted = search.value.trim().replace(/[x*]/g, "×");
    return (
      is(PROCESSOR, processor) &&
      is(OPERATION, operation) &&
      is(DTYPE, dtype) &&
      row.cells[SHAPE].textContent.replaceAll(" ", "").includes(wanted.replaceAll(" ", ""))
    );
  }

  function update() {
    const ratios = [];
    let shown = 0;
    for (const entry of rows) {
      const ratio = fill(entry);
      entry.row.hidden = !fits(entry) || (ratio === null && peer.value !== BEST);
      if (entry.row.hidden) continue;
      shown += 1;
      if (ratio !== null) ratios.push(ratio);
    }
    const mean = Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length);
    const behind = ratios.filter((r) => r < 1).length;
    status.textContent = ratios.length
      ? `${shown} of ${rows.length} cells; geometric mean of the ratio ${mean.toFixed(2)}; ` +
        `the peer is faster in ${behind}.`
      : `${shown} of ${rows.length} cells.`;
  }

  // ---- Sorting: a button in each heading ----
  function key(row, column, kind) {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent;
    const text = cell.dataset.value ?? cell.textContent;
    return text === "" ? -Infinity : Number(text);
  }

  function sort(column, heading) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const kind = heading.dataset.kind;
    const sign = down ? -1 : 1;
    rows.sort((a, b) => {
      const [p, q] = [key(a.row, column, kind), key(b.row, column, kind)];
      return p < q ? -sign : p > q ? sign : 0;
    });
    body.append(...rows.map((entry) => entry.row));
  }

  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sort(column, heading));
    heading.replaceChildren(button);
  });

  update();
})();
