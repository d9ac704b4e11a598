// A link to a field of a form opens the section that it stands in, and puts the focus into it.
"use strict";

(() => {
  const focus = () => {
    const field = location.hash && document.getElementById(location.hash.slice(1));
    if (!field) {
      return;
    }
    const section = field.closest("details");
    if (section !== null) {
      section.open = true;
    }
    if (field.matches("input, select, textarea")) {
      field.focus();
    }
  };

  document.addEventListener("DOMContentLoaded", focus);
  addEventListener("hashchange", focus);
})();
