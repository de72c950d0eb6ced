// A visitor of the site: a browser profile with its own cookies.
import { chromium } from "playwright-core";

export const PARTS = ["python", "php", "java", "node"];

const OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

let browser;

export async function startBrowser() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM, args: OPTIONS,
    handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false, // run.sh and the test handle these
  });
}

export async function endBrowser() {
  await browser?.close();
}

export class Visitor {
  static async arrive(url) {
    const visitor = new Visitor();
    visitor.url = url;
    visitor.context = await browser.newContext();
    visitor.context.setDefaultTimeout(30_000);
    visitor.page = await visitor.context.newPage();
    return visitor;
  }

  /** Opens a page and returns its contents. */
  async open(path) {
    const answer = await this.page.goto(`${this.url}/${path}`);
    return { status: answer.status(), ...(await this.sees()) };
  }

  async sees() {
    const text = async (selector) => (await this.page.locator(selector).allTextContents())[0];
    return {
      title: await text("h1"),
      role: await text("#role"),
      visits: await text("#visits"),
      loginForm: (await this.page.locator("input[name=password]").count()) === 1,
    };
  }

  async visit(part) {
    return this.open(`${part}/`);
  }

  /** Submits the login form of the open page. */
  async submitLogin(name, { role = "reader", password = "demo" } = {}) {
    await this.page.fill("input[name=name]", name);
    await this.page.selectOption("select[name=role]", role);
    await this.page.fill("input[name=password]", password);
    return this.press("Log in");
  }

  async logIn(part, name, options) {
    await this.visit(part);
    return this.submitLogin(name, options);
  }

  /** Clicks a submit button and returns the contents of the next page. */
  async press(button) {
    const arrival = this.page.waitForEvent("response", (answer) =>
      answer.request().isNavigationRequest() && (answer.status() < 300 || answer.status() >= 400));
    await this.page.click(`button:text-is("${button}")`);
    const answer = await arrival;
    await this.page.waitForURL(answer.url());
    await this.page.waitForLoadState();
    return { status: answer.status(), path: new URL(answer.url()).pathname, ...(await this.sees()) };
  }

  async logOut(part) {
    await this.visit(part);
    return this.press("Log out");
  }

  /** Returns the rows of the devices page: address, idle, last use. */
  async devices(part) {
    await this.open(`${part}/devices`);
    const rows = await this.page.locator("tr:has(td)").all();
    return Promise.all(rows.map((row) => row.locator("td").allTextContents()));
  }

  async cookies() {
    return this.context.cookies();
  }

  async token() {
    return (await this.cookies()).find(({ name }) => name === "session")?.value;
  }

  /** Puts a cookie into the browser, as an attacker might. */
  async plant(token) {
    await this.context.addCookies([{ name: "session", value: token, domain: new URL(this.url).hostname, path: "/",
      httpOnly: true, secure: true, sameSite: "Lax" }]);
  }

  async leave() {
    await this.context.close();
  }
}
