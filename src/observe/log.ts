/**
 * How the work goes, in lines on stderr. What the tool was asked for goes to stdout and not
 * through here.
 */

export type Level = "debug" | "info" | "warn" | "error";

/** "text": `time name: message key=value`; "json": one object a line. */
export type LogFormat = "text" | "json";

/** Facts beside a message: short values; never a secret. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * Where log lines go. Passed as an argument, never imported as a singleton. The `facts` are what the
 * message says already, for machines: people do not see them.
 */
export interface Logger {
  /** What only helps to find a fault of the program. */
  debug(message: string, fields?: Fields, facts?: Fields): void;
  /** What went as it should. */
  info(message: string, fields?: Fields, facts?: Fields): void;
  /** What did not, and needs nobody. */
  warn(message: string, fields?: Fields, facts?: Fields): void;
  /** What somebody has to look at. */
  error(message: string, fields?: Fields, facts?: Fields): void;
}

export interface LoggerOptions {
  /** Receives whole lines, newline included. */
  readonly write: (line: string) => void;
  /** The least level that is written; default "info". */
  readonly level?: Level;
  /** Default "text". */
  readonly format?: LogFormat;
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
  const isJson = options.format === "json";
  function at(level: Level) {
    return (message: string, fields: Fields = {}, facts: Fields = {}) => {
      if (ORDER[level] < least) return;
      options.write(
        isJson
          ? renderJson(options.name, now(), level, message, { ...fields, ...facts })
          : renderText(options.name, now(), level, message, fields),
      );
    };
  }
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function renderText(name: string, time: Date, level: Level, message: string, fields: Fields) {
  let extra = "";
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    if (value !== undefined) extra += ` ${key}=${typeof value === "string" ? word(value) : value}`;
  }
  const severity = level === "info" ? "" : `${level}: `;
  return `${time.toISOString()} ${name}: ${severity}${escapeControls(clean(message))}${extra}\n`;
}

/** A value of a text line: in quotes where it would not be one word. */
function word(value: string): string {
  const text = clean(value);
  const quoted = text === "" || /[\s"=]/.test(text) ? JSON.stringify(text) : text;
  return escapeControls(quoted);
}

/** An entry as one line of JSON, newline included. */
export function renderJson(
  name: string,
  time: Date,
  level: Level,
  message: string,
  fields: Fields,
) {
  const entry: Record<string, unknown> = {
    time: time.toISOString(),
    level,
    name,
    message: clean(message),
  };
  for (const [key, value] of Object.entries(fields)) {
    if (!Object.hasOwn(entry, key)) entry[key] = typeof value === "string" ? clean(value) : value;
  }
  return jsonLine(entry);
}

/** A value as a line of JSON that is safe for a terminal, newline included. */
export function jsonLine(value: unknown): string {
  // JSON itself escapes only C0: the rest is as much data, and as little for a terminal.
  return JSON.stringify(value).replace(CONTROLS, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  }) + "\n";
}

/** Longer texts are cut, in UTF-16 code units: whoever reads a log has limits, too. */
const MAX_TEXT_LENGTH = 8_192;

/** Without passwords, not too long, and of whole characters: half a surrogate pair is no text. */
function clean(text: string): string {
  const short = text.length <= MAX_TEXT_LENGTH ? text : `${text.slice(0, MAX_TEXT_LENGTH)}...`;
  return maskPasswords(short).toWellFormed();
}

/**
 * A second net under the redaction in amqp/url.ts: what a user typed in the wrong place may be a
 * URL, and errors quote it.
 */
export function maskPasswords(text: string): string {
  return text.includes("//") ? text.replace(/(\/\/[^\s:@/]*):\S*@/g, "$1:***@") : text;
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
