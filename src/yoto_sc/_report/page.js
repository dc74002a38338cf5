"use strict";

// The table of genes: sorted by a click on a heading, searched, and saved. Without scripts it is
// complete as it stands.
(() => {
  const table = document.getElementById("genes");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const search = document.getElementById("search");
  const count = document.getElementById("count");
  const gene = headings.findIndex((heading) => heading.textContent === "gene");

  const valueOf = (cell) => {
    const value = cell.dataset.value;
    if (value === undefined) return cell.textContent;
    return value === "nan" ? -Infinity : Number(value);
  };
  const shown = () => [...body.rows].filter((row) => !row.hidden);

  const sortBy = (column) => {
    const heading = headings[column];
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headings.forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const compare = (a, b) => {
      const [x, y] = [valueOf(a.cells[column]), valueOf(b.cells[column])];
      const order =
        typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return sign * (order || 0);
    };
    body.append(...rows.sort(compare));
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    count.textContent = `${shown().length} of ${rows.length}`;
  };

  const quoted = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };

  const save = () => {
    const lines = [table.tHead.rows[0], ...shown()].map((row) =>
      [...row.cells].map((cell) => quoted(cell.dataset.value ?? cell.textContent)).join(",")
    );
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    link.download = "panel.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };

  const copy = async (event) => {
    const names = shown().map((row) => row.cells[gene].textContent);
    try {
      await navigator.clipboard.writeText(names.join("\n"));
      event.target.textContent = `${names.length} names copied`;
    } catch {
      event.target.textContent = "Copying is not allowed here";
    }
  };

  headings.forEach((heading, column) => {
    heading.setAttribute("aria-sort", "none");
    heading.tabIndex = 0;
    heading.addEventListener("click", () => sortBy(column));
    heading.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sortBy(column);
      }
    });
  });
  search.addEventListener("input", filter);
  document.getElementById("save").addEventListener("click", save);
  document.getElementById("copy").addEventListener("click", copy);
  document.querySelector(".tools").hidden = false;
  filter();
})();
