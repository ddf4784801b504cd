// The races of the page. Everything else on it works without this file.
"use strict";

const WRITERS = document.querySelectorAll("#parallel [data-side=asgi-sessions] .cells li").length;
const HEAD_START = 400; // milliseconds between the slow request and the logout that overtakes it

async function call(side, path, method = "POST") {
  const answer = await fetch(`/lab/${side}/${path}`, { method, cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function conclude(element, good, text) {
  const verdict = element.querySelector(".verdict");
  verdict.textContent = text;
  verdict.className = `verdict ${good ? "good" : "bad"}`;
}

// -- twenty requests at once ------------------------------------------------------------------------------------------

async function parallel(element) {
  const { side } = element.dataset;
  const cells = [...element.querySelectorAll(".cells li")];
  for (const cell of cells) cell.className = "";
  await call(side, "login");
  await Promise.all(
    cells.map(async (cell) => {
      cell.className = "sent";
      await call(side, `write/${cell.dataset.number}`);
      cell.className = "answered";
    }),
  );
  const session = await call(side, "", "GET");
  for (const cell of cells) cell.className = session[`write ${cell.dataset.number}`] ? "kept" : "lost";
  const kept = cells.filter((cell) => cell.className === "kept").length;
  conclude(element, kept === WRITERS, kept === WRITERS ? `All ${kept} arrived.` : `${kept} of ${WRITERS} arrived.`);
  return kept;
}

function tellParallel([ours, theirs]) {
  return (
    `All ${WRITERS} requests were answered with success, on both sides. asgi_sessions kept ${ours} writes, ` +
    `the last writer kept ${theirs}: ${WRITERS - theirs} are gone, and nobody was told.`
  );
}

// -- a slow request that outlives the logout ----------------------------------------------------------------------------

async function logout(element) {
  const { side } = element.dataset;
  const steps = element.querySelector(".steps");
  steps.replaceChildren();
  const began = performance.now();
  const step = (text) => {
    const item = document.createElement("li");
    const time = document.createElement("span");
    time.textContent = `${((performance.now() - began) / 1000).toFixed(1)} s`;
    item.append(time, ` ${text}`);
    steps.append(item);
  };
  await call(side, "login");
  step("Ada is logged in.");
  const order = call(side, "slow");
  step("A slow request is on its way.");
  await pause(HEAD_START);
  await call(side, "logout");
  step("Ada is logged out.");
  await order;
  step("The slow request is answered.");
  const { user, order: kept } = await call(side, "", "GET");
  step(user ? `The session is back: ${user}, order ${kept}.` : "There is no session.");
  conclude(element, !user, user ? `${user} is logged in again.` : "Nobody is logged in.");
  return !user;
}

function tellLogout([ours, theirs]) {
  const outcome = (final) => (final ? "the logout is final" : "the slow request has undone the logout");
  return `With asgi_sessions ${outcome(ours)}; where the last writer wins, ${outcome(theirs)}.`;
}

// -- the buttons ------------------------------------------------------------------------------------------------------

const RACES = {
  // One side after the other: a browser opens about six connections to a host, and both sides shall have them all.
  parallel: {
    race: async (sides) => [await parallel(sides[0]), await parallel(sides[1])],
    tell: tellParallel,
  },
  logout: { race: (sides) => Promise.all(sides.map(logout)), tell: tellLogout },
};

async function run(button) {
  const section = button.closest("section");
  const result = section.querySelector(".result");
  const { race, tell } = RACES[button.dataset.race];
  button.setAttribute("aria-disabled", "true"); // not disabled: that would take the focus away
  for (const verdict of section.querySelectorAll(".verdict")) {
    verdict.className = "verdict";
    verdict.textContent = "Running …";
  }
  result.textContent = "Running …";
  for (const flash of document.querySelectorAll(".flash")) flash.remove(); // they would cover what is to be seen
  try {
    result.textContent = tell(await race([...section.querySelectorAll(".side")]));
  } catch (error) {
    result.textContent = `That did not work: ${error.message}. Reload the page and try again.`;
  }
  button.removeAttribute("aria-disabled");
}

document.documentElement.classList.add("scripts"); // the page says what to do without them until it gets here

for (const button of document.querySelectorAll("[data-race]")) {
  button.addEventListener("click", () => button.getAttribute("aria-disabled") || run(button));
}

for (const flash of document.querySelectorAll(".flash")) {
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => flash.remove());
  flash.append(close);
}

// Screen readers tell what changes in a status, not what was there when the page came.
addEventListener("load", () => {
  for (const region of document.querySelectorAll(".flashes")) region.append(...region.children);
});
