document.querySelectorAll("#students th").forEach((title, column) => {
  const key = row => row.cells[column].textContent;
  title.style.cursor = "pointer";
  title.tabIndex = 0;
  const sort = () => {
    const body = document.querySelector("#students tbody"), down = title.ariaSort === "ascending" ? -1 : 1;
    document.querySelectorAll("#students th").forEach(other => other.removeAttribute("aria-sort"));
    title.ariaSort = down > 0 ? "ascending" : "descending";
    body.append(...[...body.rows].sort((a, b) => down * key(a).localeCompare(key(b), undefined, {numeric: true})));
  };
  title.addEventListener("click", sort);
  title.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
});
