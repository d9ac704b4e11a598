// The key / goes to the search of every page; Escape and a click elsewhere close an open menu of a row.
// Without this script the search is a form like others, and a menu closes by its own button.
"use strict";

document.addEventListener(
  "keydown",
  (event) => {
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    const search = document.getElementById("pf-search");
    if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey || typing || search === null) {
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation(); // the theme's lists take this key for themselves
    if (search.offsetParent === null) {
      location.assign(search.form.action); // the menu is closed: the search has a page
      return;
    }
    search.focus();
  },
  true,
);

const closeMenus = (but) => {
  document.querySelectorAll(".pf-menu[open]").forEach((menu) => {
    if (menu !== but) {
      menu.open = false;
    }
  });
};

document.addEventListener("click", (event) => closeMenus(event.target.closest(".pf-menu")));
document.addEventListener("keydown", (event) => {
  const open = event.target.closest?.(".pf-menu[open]");
  if (event.key === "Escape" && open) {
    closeMenus(null);
    open.querySelector("summary").focus();
  }
});
