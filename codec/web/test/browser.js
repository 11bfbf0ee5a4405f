// node test/browser.js BROWSER PROGRAM URL: the same in a browser, "chromium" or "firefox", on
// test/page.html below the URL of a server.

import puppeteer from "puppeteer-core";

const [name, executablePath, url] = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: name === "firefox" ? "firefox" : "chrome",
  executablePath,
  protocolTimeout: 600_000,
  args: name === "firefox" ? [] : ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(new URL("test/page.html", url).href);
  await page.waitForFunction("window.cases");
  const count = await page.evaluate("window.cases.length");
  const results = [];
  for (let i = 0; i < count; i++) {
    results.push(await page.evaluate(`window.check(window.cases[${i}])`));
  }
  results.push({ name: "behaviour", wrong: await page.evaluate("window.behaviour()") });
  const unexpected = complaints.filter((text) => !/404|nowhere/.test(text));
  if (unexpected.length) throw new Error(unexpected.join("\n"));
  console.log(JSON.stringify(results));
} finally {
  await browser.close();
}
