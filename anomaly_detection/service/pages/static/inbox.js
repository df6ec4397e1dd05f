// The keys, the dialogs and the choice of cases. What is done is a button of a form; a key presses it.
"use strict";

(() => {
  let place = 0;
  const texts = JSON.parse(document.body.dataset.texts);
  // Pages tell moments in this zone; they know it from the next one on.
  document.cookie = `zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; path=/; max-age=31536000; samesite=lax`;
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
    if (!told) return;
    told.textContent = chosen ? texts.chosen.replace("{}", chosen) : "";
    const merge = document.getElementById("merge");
    if (merge) merge.hidden = chosen < 2;
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

  // Every key waits its turn here: while the page is awaited that an action leads to, none is pressed.
  const queue = [];
  let awaited = null;
  const of = (key) => all("[data-key]").find((one) => one.dataset.key === key);
  const opened = () => document.querySelector("dialog[open]");
  const isForCase = (event) => event.target.matches("body, main, a.open");

  function press(key) {
    const dialog = opened();
    const chief = () => (dialog ? dialog.querySelector(".chief") : all("#main form > p .chief")[0]);
    const pressed = key !== "Enter" ? !dialog && of(key) : (!dialog && rows()[place]?.querySelector("a.open")) || chief();
    if (!pressed) return;
    if (isField(pressed)) pressed.select();
    else pressed.click();
  }

  // However it ends; by then htmx has put in place what came.
  function wait(request) {
    awaited = request;
    request.addEventListener("loadend", () => {
      if (awaited !== request) return;
      awaited = null;
      // Without the page nobody knows on what the next keys would fall.
      if (!(request.status >= 200 && request.status < 300)) queue.length = 0;
      drain();
    });
  }

  function drain() {
    while (queue.length && !awaited) press(queue.shift());
  }

  document.addEventListener("keydown", (event) => {
    // Of the form's buttons Enter presses the dialog's own.
    if (event.key === "Enter" && !event.isComposing && event.target.matches("dialog input:not([type=checkbox])")) {
      event.preventDefault();
      event.target.closest("dialog").querySelector(".chief").click();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !usesKeys()) return;
    if (isField(event.target)) {
      if (event.key === "Escape" && event.target.type === "search") event.target.blur();
      return;
    }
    if (opened() && !awaited) return;
    const isOpening = event.key === "Enter" && isForCase(event) && (awaited || rows().length > 0);
    // What a key does may be there only when the page is.
    if (!isOpening && !(awaited ? /^\S$/.test(event.key) : of(event.key))) return;
    event.preventDefault();
    queue.push(event.key);
    drain();
  });

  document.addEventListener("click", (event) => {
    const pressed = event.target.closest("button, input[type=checkbox]");
    if (!pressed) return;
    if (pressed.dataset.dialog) document.getElementById(pressed.dataset.dialog).showModal();
    else if ("close" in pressed.dataset) {
      const dialog = pressed.closest("dialog");
      if (dialog) dialog.close();
      else pressed.closest(".said").hidden = true;
    } else if ("reload" in pressed.dataset) location.reload();
    else if (pressed.dataset.move) go(place + Number(pressed.dataset.move));
    else if ("choose" in pressed.dataset) choose();
    else if (pressed.id === "all") {
      boxes().forEach((box) => { box.checked = pressed.checked; });
      count();
    } else if (pressed.name === "ids") count();
    else if (pressed.id === "use-keys") localStorage.setItem("keys", pressed.checked ? "yes" : "no");
  });

  document.addEventListener("input", (event) => {
    const { told, words, unit } = event.target.dataset;
    if (!told) return;
    const { value } = event.target;
    document.getElementById(told).textContent = words ? JSON.parse(words)[value] || value : Number(value).toLocaleString(document.documentElement.lang) + unit;
  });

  document.addEventListener("focusin", (event) => {
    const at = rows().indexOf(event.target.closest(".case"));
    if (at < 0) return;
    place = at;
    rows().forEach((row, i) => row.classList.toggle("current", i === at));
  });

  document.addEventListener("htmx:configRequest", (event) => {
    const { elt, formData, verb } = event.detail;
    if (verb === "get" && elt.matches("form")) {
      // What was left empty has no place in the address, nor a slider at its least that only narrows.
      [...new Set(formData.keys())].forEach((name) => {
        const kept = formData.getAll(name).filter((value) => value && !(name === "min_severity" && value === "0"));
        formData.delete(name);
        kept.forEach((value) => formData.append(name, value));
      });
    }
    if (elt.id !== "act" || formData.has("ids")) return;
    const box = boxes()[place];
    if (box) formData.append("ids", box.value);
    else event.preventDefault();
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    document.getElementById("problem").hidden = true;
    if (event.detail.target.id === "main") wait(event.detail.xhr);
  });
  // Filters that somebody opened stay open when the part that they are in is another one.
  let wasOpen = false;
  const more = () => document.querySelector("#facets details");
  document.addEventListener("htmx:beforeSwap", (event) => {
    wasOpen = Boolean(more()?.open);
    // A slider that is being dragged stays; the page that comes then asks for this part again.
    const isDragged = document.querySelector("#facets input[type=range]:active");
    if (event.detail.target.id === "facets" && isDragged) event.detail.shouldSwap = false;
    // What the page that goes still asks for would come into the next one.
    if (event.detail.target.id === "main") all("#main [hx-trigger=load]").forEach((at) => htmx.trigger(at, "htmx:abort"));
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    count();
    if (more() && wasOpen) more().open = true;
    if (event.detail.target.id !== "main") return;
    all("#main [data-select]").forEach((at) => at.select());
    if (!rows().length && document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
    if (event.detail.requestConfig.verb === "post") {
      go(place);
      htmx.trigger("#news", "news");
    }
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { status, responseText } = event.detail.xhr;
    if (status === 401) { location.assign("/login"); return; }
    let said = {};
    try { said = JSON.parse(responseText); } catch { /* A proxy may answer anything. */ }
    all("dialog[open]").forEach((dialog) => dialog.close());
    tell(said.detail || said.error || texts.answered.replace("{}", status));
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.id === "log-out" && event.detail.successful) location.assign("/login");
  });
  document.addEventListener("htmx:sendError", () => tell(texts.unreachable));

  const TYPES = {
    csv: "text/csv", tsv: "text/csv", txt: "text/csv", parquet: "application/vnd.apache.parquet",
    xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ndjson: "application/x-ndjson", jsonl: "application/x-ndjson", json: "application/json",
    arrow: "application/vnd.apache.arrow.file", feather: "application/vnd.apache.arrow.file",
  };

  function send(method, where, type, body, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(method, where);
      request.setRequestHeader("Content-Type", type);
      // As htmx does: what is wrong is then told in the page's language.
      request.setRequestHeader("HX-Request", "true");
      const token = JSON.parse(document.body.getAttribute("hx-headers") || "{}");
      Object.entries(token).forEach(([name, value]) => request.setRequestHeader(name, value));
      if (progress) request.upload.onprogress = (event) => progress(event.loaded / event.total);
      request.onload = () => resolve(request);
      request.onerror = () => reject(new Error(texts.unreachable));
      request.send(body);
    });
  }

  // A stream is called as its file; it learns when somebody has looked at its columns.
  async function take(file, form) {
    const [, stem, end] = file.name.match(/^(.*?)\.?([^.]*)$/);
    const type = TYPES[end.toLowerCase()];
    if (!type) { tell(texts.unread.replace("{}", end)); return; }
    const name = stem.replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64) || "table";
    const bar = document.getElementById("sent");
    bar.hidden = false;
    try {
      // Of a file for a stream that is there only what it lacks is taken.
      const { streams } = JSON.parse((await send("GET", "/v1/streams", type)).responseText);
      const isThere = streams.some((stream) => stream.name === name);
      const wanted = JSON.stringify({ name, learn_from: Number(form.dataset.learnFrom) });
      const made = isThere || await send("POST", "/v1/streams", "application/json", wanted);
      const where = `/v1/streams/${name}/records${isThere ? "?known=skip" : ""}`;
      const sent = isThere || made.status === 201 ? await send("POST", where, type, file, (share) => { bar.value = share; }) : made;
      if (sent.status === 200 || sent.status === 202) location.assign(`/start/${name}`);
      else tell(JSON.parse(sent.responseText).detail);
    } catch (error) {
      tell(error.message);
    }
    bar.hidden = true;
  }

  document.addEventListener("change", (event) => {
    const form = event.target.closest("#drop");
    if (form && event.target.files.length) take(event.target.files[0], form);
  });
  ["dragover", "drop"].forEach((kind) => document.addEventListener(kind, (event) => {
    const form = document.getElementById("drop");
    if (!form) return;
    event.preventDefault();
    if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0], form);
  }));

  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const keys = document.getElementById("use-keys");
  if (keys) keys.checked = usesKeys();
  all("[data-select]").forEach((at) => at.select());
  if (location.pathname === "/") go(0);
})();
