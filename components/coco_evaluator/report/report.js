document.querySelectorAll("table.sortable th").forEach((head, column) => head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0];
  const key = row => { const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent;
    const value = parseFloat(text.replace("−", "-").replace("–", "-1")); return Number.isNaN(value) ? text : value; };
  const falling = head.dataset.falling = head.dataset.falling === "1" ? "0" : "1";
  [...body.rows].sort((a, b) => { const x = key(a), y = key(b); const order = x < y ? -1 : x > y ? 1 : 0;
    return falling === "1" ? -order : order; }).forEach(row => body.append(row));
}));

// A curve is [score, precision, recall] by falling score.
const scoreData = document.getElementById("score-curves");
if (scoreData) {
  const curves = JSON.parse(scoreData.textContent), rows = document.querySelector("#score-table tbody").rows;
  const wanted = { precision: document.getElementById("precision"), recall: document.getElementById("recall") };
  const words = value => value.toFixed(2), floored = score => (Math.floor(score * 1000) / 1000).toFixed(3);
  const show = () => curves.forEach((curve, n) => {
    const useful = curve.filter(point => point[2] > 0), cells = rows[n].cells;
    const precise = useful.filter(point => point[1] >= wanted.precision.valueAsNumber).at(-1);
    const complete = useful.find(point => point[2] >= wanted.recall.valueAsNumber);
    cells[4].textContent = precise ? floored(precise[0]) : "not reached";
    cells[5].textContent = precise ? words(precise[2]) : "–";
    cells[6].textContent = complete ? floored(complete[0]) : "not reached";
    cells[7].textContent = complete ? words(complete[1]) : "–";
  });
  Object.values(wanted).forEach(field => field.addEventListener("input", show));
  show();
}
