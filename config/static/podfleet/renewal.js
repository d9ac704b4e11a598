// The first page renews itself every few seconds: what changed is morphed into what is there, so the
// focus, the scroll position and what somebody has opened stay. Without this script the page stands still.
"use strict";

(() => {
  const SLOW_SECONDS = 20; // four renewals
  let heard = Date.now();

  // A <details> that somebody opened or closed stays so: the server does not know.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
    !(name === "open" && node.tagName === "DETAILS");

  const typing = (part) => {
    const active = document.activeElement;
    return part.contains(active) && active.matches("input:not([type=radio]), select, textarea");
  };

  const selecting = (part) => {
    const chosen = getSelection();
    return !chosen.isCollapsed && part.contains(chosen.anchorNode);
  };

  // Called by the attributes hx-trigger of the first page.
  globalThis.podfleetMayRenew = (id = "pf-now") => {
    const part = document.getElementById(id);
    return !document.hidden && part !== null && !typing(part) && !selecting(part);
  };

  const tellAge = () => {
    const place = document.getElementById("pf-updated");
    if (place === null) {
      return;
    }
    const seconds = Math.round((Date.now() - heard) / 1000);
    const late = seconds >= SLOW_SECONDS;
    place.textContent = late ? `Not updated for ${seconds} s` : `updated ${seconds} s ago`;
    place.classList.toggle("pf-amber", late);
    document.getElementById("pf-now")?.classList.toggle("pf-old", late);
    place.hidden = false;
  };

  // Readers of screens hear how many things need somebody, and only when that changes.
  const say = () => {
    const said = document.getElementById("pf-say");
    const now = document.getElementById("pf-needs");
    if (said !== null && now !== null && said.textContent !== now.textContent) {
      said.textContent = now.textContent;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    // The theme marks no main part of its pages.
    document.getElementById("content")?.setAttribute("role", "main");
    if (document.getElementById("pf-now") === null) {
      return;
    }
    setInterval(tellAge, 1000);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful && event.detail.target.id === "pf-now") {
        heard = Date.now();
        tellAge();
        say();
      }
    });
  });
})();
