/**
 * How the work goes, in lines on stderr. What the tool was asked for goes to stdout and not
 * through here.
 */

export type Level = "debug" | "info" | "warn" | "error";

/** Facts beside a message: short values; never a secret. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where log lines go. Passed as an argument, never imported as a singleton. */
export interface Logger {
  /** What only helps to find a fault of the program. */
  debug(message: string, fields?: Fields): void;
  /** What went as it should. */
  info(message: string, fields?: Fields): void;
  /** What did not, and needs nobody. */
  warn(message: string, fields?: Fields): void;
  /** What somebody has to look at. */
  error(message: string, fields?: Fields): void;
}

export interface LoggerOptions {
  /** Receives whole lines, newline included. */
  readonly write: (line: string) => void;
  /** The least level that is written; default "info". */
  readonly level?: Level;
  /** "text": `name: message key=value`; "json": one object a line. Default "text". */
  readonly format?: "text" | "json";
  /** Name of the program, at the start of each text line. */
  readonly name: string;
  /** Default: the current time. */
  readonly now?: () => Date;
}

const ORDER: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** A logger that writes one line a message. */
export function createLogger(options: LoggerOptions): Logger {
  const least = ORDER[options.level ?? "info"];
  const now = options.now ?? (() => new Date());
  const render = options.format === "json" ? renderJson : renderText;
  function at(level: Level) {
    return (message: string, fields: Fields = {}) => {
      if (ORDER[level] < least) return;
      options.write(render(options.name, now(), level, message, fields));
    };
  }
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function renderText(name: string, time: Date, level: Level, message: string, fields: Fields) {
  const extra = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      const text = String(value);
      const quoted = text === "" || /[\s"=]/.test(text) ? JSON.stringify(text) : text;
      return ` ${key}=${escapeControls(quoted)}`;
    })
    .join("");
  const severity = level === "info" ? "" : `${level}: `;
  return `${time.toISOString()} ${name}: ${severity}${escapeControls(message)}${extra}\n`;
}

function renderJson(name: string, time: Date, level: Level, message: string, fields: Fields) {
  const entry = { ...fields, time: time.toISOString(), level, name, message };
  // JSON itself escapes only C0: the rest is as much data, and as little for a terminal.
  return JSON.stringify(entry).replace(CONTROLS, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  }) + "\n";
}

/** C0, DEL, C1, line separators, and what changes the direction of the text around it. */
const CONTROLS =
  // deno-lint-ignore no-control-regex
  /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/**
 * Makes text from strangers safe for a terminal and for one line: control characters, line
 * separators and bidirectional controls become escapes such as \n or \u{1b}.
 */
export function escapeControls(text: string): string {
  return text.replace(CONTROLS, (char) => {
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[char];
    return short ?? `\\u{${char.codePointAt(0)!.toString(16)}}`;
  });
}
