// The keys, the dialogs and the choice of cases. What is done is a button of a form; a key presses it.
"use strict";

(() => {
  let place = 0;
  const all = (what) => [...document.querySelectorAll(what)];
  const rows = () => all(".case");
  const boxes = () => all(".case input[name=ids]");

  function go(to) {
    const found = rows();
    if (!found.length) return;
    place = Math.max(0, Math.min(to, found.length - 1));
    found.forEach((row, i) => row.classList.toggle("current", i === place));
    found[place].querySelector("a.open").focus({ preventScroll: true });
    found[place].scrollIntoView({ block: "nearest" });
  }

  function count() {
    const chosen = boxes().filter((box) => box.checked).length;
    const told = document.getElementById("chosen");
    if (told) told.textContent = chosen ? `${chosen} chosen` : "";
  }

  function choose() {
    const box = boxes()[place];
    if (!box) return;
    box.checked = !box.checked;
    count();
  }

  function tell(sentence) {
    const box = document.getElementById("problem");
    box.querySelector("p").textContent = sentence;
    box.hidden = false;
  }

  const usesKeys = () => localStorage.getItem("keys") !== "no";
  const isField = (at) => at.matches("input:not([type=checkbox]), textarea, select");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !usesKeys()) return;
    if (isField(event.target)) {
      if (event.key === "Escape" && event.target.type === "search") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && event.target === document.body && rows().length) {
      rows()[place].querySelector("a.open").click();
      return;
    }
    const pressed = all("[data-key]").find((one) => one.dataset.key === event.key);
    if (!pressed) return;
    event.preventDefault();
    if (isField(pressed)) pressed.select();
    else pressed.click();
  });

  document.addEventListener("click", (event) => {
    const pressed = event.target.closest("button, input[type=checkbox]");
    if (!pressed) return;
    if (pressed.dataset.dialog) document.getElementById(pressed.dataset.dialog).showModal();
    else if ("close" in pressed.dataset) {
      const dialog = pressed.closest("dialog");
      if (dialog) dialog.close();
      else pressed.closest(".said").hidden = true;
    } else if (pressed.dataset.move) go(place + Number(pressed.dataset.move));
    else if ("choose" in pressed.dataset) choose();
    else if (pressed.id === "all") {
      boxes().forEach((box) => { box.checked = pressed.checked; });
      count();
    } else if (pressed.name === "ids") count();
    else if (pressed.id === "use-keys") localStorage.setItem("keys", pressed.checked ? "yes" : "no");
  });

  document.addEventListener("focusin", (event) => {
    const at = rows().indexOf(event.target.closest(".case"));
    if (at < 0) return;
    place = at;
    rows().forEach((row, i) => row.classList.toggle("current", i === at));
  });

  document.addEventListener("htmx:configRequest", (event) => {
    const { elt, formData, verb } = event.detail;
    // What was left empty has no place in the address.
    if (verb === "get") [...formData.keys()].forEach((name) => { if (!formData.get(name)) formData.delete(name); });
    if (elt.id !== "act" || formData.has("ids")) return;
    const box = boxes()[place];
    if (box) formData.append("ids", box.value);
    else event.preventDefault();
  });

  document.addEventListener("htmx:beforeRequest", () => { document.getElementById("problem").hidden = true; });
  document.addEventListener("htmx:afterSettle", (event) => {
    count();
    if (event.detail.target.id === "main" && event.detail.requestConfig.verb === "post") go(place);
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { status, responseText } = event.detail.xhr;
    if (status === 401) { location.assign("/login"); return; }
    let said = {};
    try { said = JSON.parse(responseText); } catch { /* A proxy may answer anything. */ }
    all("dialog[open]").forEach((dialog) => dialog.close());
    tell(said.detail || said.error || `The service answered ${status}.`);
  });
  document.addEventListener("htmx:sendError", () => tell("The service cannot be reached."));

  const keys = document.getElementById("use-keys");
  if (keys) keys.checked = usesKeys();
  if (location.pathname === "/") go(0);
})();
