// The key / goes to the search of every page. Without this script the search is a form like others.
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
