// Follows the log of a pod: its lines are asked for again every few seconds, while the page is seen.
// Without this script the page stands still, and there is no such button.
"use strict";

(() => {
  const EVERY_MS = 5000; // each question goes to the vendor, who limits how many there may be

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("pf-follow");
    const part = document.getElementById("pf-log-part");
    if (button === null || part === null) {
      return;
    }
    let timer;
    let shown = "";
    const showEnd = () => {
      const lines = part.querySelector(".pf-logs");
      if (lines !== null) {
        lines.scrollTop = lines.scrollHeight;
      }
    };
    const stop = (why) => {
      clearInterval(timer);
      timer = undefined;
      button.setAttribute("aria-pressed", "false");
      button.textContent = why ? `Follow (stopped: ${why})` : "Follow";
    };
    const renew = async () => {
      if (document.hidden) {
        return;
      }
      const answer = await fetch(button.dataset.part, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) {
        throw new Error(answer.redirected ? "the login has expired" : `status ${answer.status}`);
      }
      const text = await answer.text();
      if (timer !== undefined && shown !== text) {
        shown = text;
        part.innerHTML = text;
        showEnd();
      }
    };
    const again = () => renew().catch((error) => stop(error.message));
    button.hidden = false;
    button.addEventListener("click", () => {
      if (timer !== undefined) {
        stop("");
        return;
      }
      timer = setInterval(again, EVERY_MS);
      button.setAttribute("aria-pressed", "true");
      button.textContent = "Following";
      showEnd();
      again();
    });
  });
})();
