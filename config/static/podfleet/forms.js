// A link to a field of a form opens the section that it stands in, and puts the focus into it. A form
// that was refused has the focus in its first wrong field.
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

  // The theme takes the focus of a page that is still loading, so the attribute alone is not enough.
  addEventListener("load", () => {
    const wrong = document.querySelector(".pf-errors ~ div [autofocus]");
    if (wrong === null) {
      focus();
    } else {
      wrong.focus();
    }
  });
  addEventListener("hashchange", focus);
})();
