// Training, its progress, the versions of the weights, and the way back.

import { json, words } from "./api";
import { click, get, make, wait } from "./dom";

interface Task {
  status: string; // SUBMITTED, RUNNING, DONE, ERROR
  details?: string[];
}

interface Version {
  version: number;
  time: string;
  dice_before: number;
  dice_after: number;
  published: boolean;
}

interface Said {
  task: Task | null; // the last one; null: none since the server was started
  current: number;
  versions: Version[];
  interrupted: boolean; // one has not come to its end, since the server was stopped for example
}

export class Training {
  private watching = false;

  constructor(private readonly changed: () => void) {
    click("training-open", () => {
      get<HTMLDialogElement>("training").showModal();
      void this.show();
    });
    click("train", () => this.start());
    click("train-stop", () => this.end());
  }

  // Follow a training that runs already, one that another window has begun.
  async look(): Promise<void> {
    const task = await this.task();
    if (task && running(task)) void this.watch();
  }

  private async show(): Promise<void> {
    try {
      const { interrupted } = await this.versions();
      const task = await this.task();
      if (task) this.tell(task);
      else if (interrupted) this.say("A training was interrupted when the server ended. Train, with the same number of epochs, goes on where its last epoch ended if the labels are the same.");
      if (task && running(task)) void this.watch();
    } catch (error) {
      this.say(words(error));
    }
  }

  private async start(): Promise<void> {
    const epochs = Number(get<HTMLInputElement>("epochs").value);
    this.say("Starting …");
    try {
      await json("POST", "/train/casr_net", { max_epochs: epochs });
      await this.watch();
    } catch (error) {
      this.say(words(error));
    }
  }

  private async end(): Promise<void> {
    try {
      await json("DELETE", "/train/");
      this.say("Stopped. The next training goes on from its last epoch if the labels are the same.");
    } catch (error) {
      this.say(words(error));
    }
  }

  private async task(): Promise<Task | null> {
    return (await json<Said>("GET", "/page/training")).task;
  }

  private async watch(): Promise<void> {
    if (this.watching) return;
    this.watching = true;
    try {
      for (;;) {
        const task = await this.task().catch(() => null);
        if (task) this.tell(task);
        if (task && !running(task)) break;
        await wait(1500);
      }
      await this.versions();
      this.changed();
    } catch (error) {
      this.say(words(error));
    } finally {
      this.watching = false;
    }
  }

  private tell(task: Task): void {
    const lines = task.details ?? [];
    const said = lines.filter((line) => line.includes("casr_net: ")).map((line) => line.slice(line.indexOf("casr_net: ") + 10));
    const bar = get<HTMLProgressElement>("train-bar");
    bar.hidden = !running(task);
    get("train-stop").hidden = !running(task);
    get<HTMLButtonElement>("train").disabled = running(task);
    let step = "";
    for (const line of lines) {
      const found = /epoch\D{0,12}(\d+)\s*\/\s*(\d+)/i.exec(line);
      if (found) {
        step = `Epoch ${found[1]} of ${found[2]}. `;
        bar.value = Number(found[1]) / Number(found[2]);
      }
    }
    const names: Record<string, string> = { SUBMITTED: "Waiting.", RUNNING: "Running.", DONE: "Done.", ERROR: "It failed.", STOPPED: "Stopped." };
    const fault = task.status === "ERROR" ? [...lines].reverse().find((line) => /Error: /.test(line)) : undefined;
    this.say(`${names[task.status] ?? task.status} ${step}${fault ? fault.replace(/^.*?Error: /, "") : (said.at(-1) ?? "")}`);
  }

  private async versions(): Promise<Said> {
    const stats = await json<Said>("GET", "/page/training");
    const list = get("versions");
    list.replaceChildren();
    const all = [{ version: 0, text: "the bundle's own weights" }, ...stats.versions.map((one) => ({
      version: one.version,
      text: `${one.time.slice(0, 16).replace("T", " ")}, Dice on held labels ${one.dice_before.toFixed(3)} before, ${one.dice_after.toFixed(3)} after`,
    }))];
    for (const one of all.reverse()) {
      const item = make("li");
      item.append(make("span", `Version ${one.version}: ${one.text}`));
      if (one.version === stats.current) item.append(make("strong", "in use"));
      else {
        const button = make("button", "Use");
        button.type = "button";
        button.setAttribute("aria-label", `Use version ${one.version}`);
        button.addEventListener("click", () => void this.use(one.version));
        item.append(button);
      }
      list.append(item);
    }
    return stats;
  }

  private async use(version: number): Promise<void> {
    try {
      await json("POST", "/train/casr_net?run_sync=true", { rollback: version });
      this.say(`Version ${version} is used now.`);
      await this.versions();
      this.changed();
    } catch (error) {
      this.say(words(error));
    }
  }

  private say(text: string): void {
    get("train-state").textContent = text;
  }
}

const running = (task: Task): boolean => task.status === "SUBMITTED" || task.status === "RUNNING";
