import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DEFAULT_URL, formatUrl, hasPassword, parseUrls, redact } from "../../src/amqp/url.ts";
import { PasswordFile } from "../../src/amqp/password_file.ts";
import { UsageError } from "../../src/errors.ts";
import { Random } from "../support/random.ts";
import { endpointOf } from "./harness.ts";

Deno.test("a URL without anything is guest at localhost, vhost / and the defaults", () => {
  const expected = {
    tls: false,
    host: "localhost",
    port: 5672,
    username: "guest",
    password: "guest",
    vhost: "/",
    heartbeat: 30,
    connectionTimeout: 10_000,
    channelMax: 0,
    auth: "PLAIN" as const,
    trust: {},
  };
  for (const url of [DEFAULT_URL, "amqp://", "amqp://localhost", "AMQP://LOCALHOST/", "amqp://@"]) {
    assertEquals(endpointOf(url), expected, url);
  }
  assertEquals(endpointOf("amqps://"), { ...expected, tls: true, port: 5671 });
});

Deno.test("every part of a URL is percent-decoded", () => {
  const { host, port, username, password, vhost } = endpointOf(
    "amqp://user%61:p%40ss%2Fw%3A%C3%BC@h%6Fst.Example:10000/v%2fhost",
  );
  assertEquals([host, port, username, password, vhost], [
    "host.example",
    10000,
    "usera",
    "p@ss/w:\u00fc",
    "v/host",
  ]);
});

Deno.test("a vhost: none and a lone slash are /, %2F is /, anything else is itself", () => {
  const vhosts: [string, string][] = [
    ["amqp://h", "/"],
    ["amqp://h/", "/"],
    ["amqp://h/%2F", "/"],
    ["amqp://h/%2f", "/"],
    ["amqp://h/a", "a"],
    ["amqp://h/%20", " "],
    ["amqp://h?heartbeat=1", "/"],
    ["amqp://h/?heartbeat=1", "/"],
    ["amqp://h/a?heartbeat=1", "a"],
    ["amqp://h/a%3Fb%23", "a?b#"],
  ];
  for (const [url, vhost] of vhosts) assertEquals(endpointOf(url).vhost, vhost, url);
});

Deno.test("an IPv6 literal loses its brackets and gets them back for people", () => {
  for (
    const [url, host, shown] of [
      ["amqp://[::1]", "::1", "amqp://guest@[::1]:5672/"],
      ["amqp://u:p@[2001:DB8::1]:99/v", "2001:db8::1", "amqp://u@[2001:db8::1]:99/v"],
      [
        "amqp://[::ffff:127.0.0.1]:5673",
        "::ffff:127.0.0.1",
        "amqp://guest@[::ffff:127.0.0.1]:5673/",
      ],
      ["amqps://[fe80::1%25eth0]", "fe80::1%eth0", "amqps://guest@[fe80::1%eth0]:5671/"],
    ] as const
  ) {
    const endpoint = endpointOf(url);
    assertEquals(endpoint.host, host);
    assertEquals(redact(endpoint), shown);
  }
});

Deno.test("an empty password is empty, no password is guest", () => {
  assertEquals(endpointOf("amqp://u:@h").password, "");
  assertEquals(endpointOf("amqp://u@h").password, "guest");
  assertEquals(endpointOf("amqp://u:a:b@h").password, "a:b");
});

Deno.test("every query parameter is read, and every combination", () => {
  const pairs: [string, Record<string, unknown>][] = [
    ["heartbeat=0", { heartbeat: 0 }],
    ["connection_timeout=1234", { connectionTimeout: 1234 }],
    ["channel_max=7", { channelMax: 7 }],
    ["auth_mechanism=external", { auth: "EXTERNAL" }],
    ["name=my%20name", { name: "my name" }],
  ];
  const trust: [string, Record<string, unknown>][] = [
    ["cacertfile=%2Fetc%2Fca.pem", { cacertfile: "/etc/ca.pem" }],
    ["certfile=/c.pem", { certfile: "/c.pem" }],
    ["keyfile=/k.pem", { keyfile: "/k.pem" }],
    ["verify=verify_none", { verify: false }],
    ["server_name_indication=broker", { serverName: "broker" }],
  ];
  const base = endpointOf("amqps://h");
  const all = [...pairs, ...trust];
  for (let mask = 0; mask < 2 ** all.length; mask++) {
    const chosen = all.filter((_, i) => (mask & 2 ** i) !== 0);
    const expected = {
      ...base,
      ...Object.assign({}, ...pairs.filter((p) => chosen.includes(p)).map(([, v]) => v)),
      trust: Object.assign({}, ...trust.filter((p) => chosen.includes(p)).map(([, v]) => v)),
    };
    assertEquals(endpointOf(`amqps://h?${chosen.map(([text]) => text).join("&")}`), expected);
  }
  assertEquals(endpointOf("amqps://h?verify=verify_peer").trust.verify, true);
  assertEquals(endpointOf("amqp://h?auth_mechanism=PLAIN").auth, "PLAIN");
  assertEquals(endpointOf("amqp://h?connection_timeout=0").connectionTimeout, 10_000);
  assertEquals(endpointOf("amqp://h?&heartbeat=5&").heartbeat, 5);
});

Deno.test("several URLs are separated by commas, with or without spaces", () => {
  assertEquals(
    parseUrls(" amqp://a , amqps://b:1/v,amqp://u:p,q@c ").map((e) => [redact(e), e.password]),
    [
      ["amqp://guest@a:5672/", "guest"],
      ["amqps://guest@b:1/v", "guest"],
      ["amqp://u@c:5672/", "p,q"],
    ],
  );
});

Deno.test("commas too many between URLs and around them are no vhost", () => {
  assertEquals(parseUrls(",amqp://a/, ,amqp://b/v,").map(redact), [
    "amqp://guest@a:5672/",
    "amqp://guest@b:5672/v",
  ]);
});

Deno.test("the command line's password and certificates win over every URL's", () => {
  const passwordFile = new PasswordFile("/password");
  const endpoints = parseUrls("amqps://u:old@a?cacertfile=/old&verify=verify_none,amqps://b", "x", {
    passwordFile,
    trust: { cacertfile: "/new" },
  });
  assertEquals(endpoints.map((e) => [e.passwordFile, e.trust]), [
    [passwordFile, { cacertfile: "/new", verify: false }],
    [passwordFile, { cacertfile: "/new" }],
  ]);
});

Deno.test("a bad URL is refused with its origin, what is required and what is there", () => {
  const cases: [string, string][] = [
    ["", "must begin with amqp:// or amqps://"],
    ["localhost", "must begin with"],
    ["http://h", "must begin with"],
    ["amqp:/h", "must begin with"],
    ["amqp://h:0", "port from 1 to 65535"],
    ["amqp://h:65536", "port from 1 to 65535"],
    ["amqp://h:123456", "port from 1 to 65535"],
    ["amqp://h:x", "port from 1 to 65535"],
    ["amqp://::1", "IPv6 address in brackets"],
    ["amqp://[::1", "IPv6 address in brackets"],
    ["amqp://[zz]", "IPv6 address in brackets"],
    ["amqp://a b", "must have host[:port]"],
    ["amqp://h/a/b", "written as %2F"],
    ["amqp://h//", "written as %2F"],
    ["amqp://h/%zz", "percent-encoded vhost"],
    ["amqp://%zz@h", "percent-encoded user name"],
    ["amqp://u:%zz@h", "percent-encoded password"],
    ["amqp://%zz", "must have host[:port]"],
    ["amqp://u%00@h", "user name without NUL"],
    ["amqp://u:p%00p@h", "password without NUL"],
    ["amqp://h/%00", "vhost without NUL"],
    [`amqp://h/${"v".repeat(256)}`, "vhost of at most 255 bytes"],
    [`amqp://h/${"\u00fc".repeat(128)}`, "vhost of at most 255 bytes"],
    [`amqp://${"u".repeat(256)}@h`, "user name of at most 255 bytes"],
    [`amqp://h?name=${"n".repeat(256)}`, "name of at most 255 bytes"],
    ["amqp://h?heartbeat", "heartbeat as a whole number from 0 to 65535"],
    ["amqp://h?heartbeat=-1", "heartbeat as a whole number"],
    ["amqp://h?heartbeat=1.5", "heartbeat as a whole number"],
    ["amqp://h?heartbeat=65536", "heartbeat as a whole number"],
    ["amqp://h?heartbeat=1e3", "heartbeat as a whole number"],
    ["amqp://h?connection_timeout=x", "connection_timeout as a whole number"],
    ["amqp://h?channel_max=70000", "channel_max as a whole number"],
    ["amqp://h?verify=maybe", "verify_peer or verify_none"],
    ["amqp://h?auth_mechanism=cram", "plain or external"],
    ["amqp://h?frame_max=1", "must have parameters out of heartbeat"],
    ["amqp://h?name=%zz", "percent-encoded parameter"],
    ["amqp://h?%zz=1", "percent-encoded parameter"],
    ["amqp://a,h2", "must have host[:port]"],
    ["amqp://user:12#34@h", "must have /, ? and # in the user name and password"],
    ["amqp://user:12?34@h", "must have /, ? and # in the user name and password percent-encoded"],
    ["amqp://u:p@a,u:p@b", "must have amqp:// or amqps:// before every URL of a list"],
    ["amqp://h?channel_max=3", "channel_max as 0 or a whole number from 4 to 65535"],
    ["amqp://h?cacertfile=/ca.pem", "must begin with amqps:// to have cacertfile"],
    ["amqp://h?verify=verify_none", "must begin with amqps:// to have verify"],
    ["amqp://h?server_name_indication=x", "must begin with amqps:// to have server_name_ind"],
    ["amqp://user:12/34@h", "must have /, ? and # in the user name and password percent-encoded"],
  ];
  for (const [url, requirement] of cases) {
    const error = assertThrows(() => parseUrls(url, "AMQP_URL"), UsageError);
    assertStringIncludes(error.message, requirement, url);
    assertStringIncludes(error.message, "AMQP_URL must ", url);
    assertEquals([error.exitCode, error.message.includes("\n"), error.message.endsWith(".")], [
      64,
      false,
      false,
    ]);
  }
});

Deno.test("a refused URL still shows the part that helps: user and host", () => {
  const error = assertThrows(
    () => parseUrls("amqp://me:hunter2@broker.example:99999/v"),
    UsageError,
  );
  assertStringIncludes(error.message, '"amqp://me:***@broker.example:99999/v"');
});

Deno.test("no text with a password in it, however broken, gets the password into an error", () => {
  const secret = "Hunter2Hunter2";
  const random = new Random(1);
  const garbage = "aZ19:/?#@[]%&=,;. \t\n\\\"'\u00fc";
  const starts = ["amqp://", "amqps://", "amqp:/", "amqp//", "http://", "amqp://[", " amqp://", ""];
  let refused = 0;
  for (let i = 0; i < 20_000; i++) {
    const before = random.pick(starts) + random.textOf(garbage, 6);
    const after = random.textOf(garbage, 8);
    // Behind a colon it is a password whether or not an @ follows.
    const text = `${before}:${secret}${random.next() < 0.7 ? "@" : ""}${after}`;
    try {
      for (const endpoint of parseUrls(text)) {
        const shown = redact(endpoint);
        // A colon inside a vhost begins no password, unless an "@" follows.
        const isVhost = endpoint.vhost.includes(`:${secret}`) &&
          !text.includes("@", text.indexOf(secret));
        assert(isVhost || !shown.includes(secret), `${JSON.stringify(text)} is shown as ${shown}`);
      }
    } catch (error) {
      assert(error instanceof UsageError, `${JSON.stringify(text)}: ${error}`);
      assert(!error.message.includes(secret), `${JSON.stringify(text)}: ${error.message}`);
      assert(!error.message.includes(secret.slice(0, 7)), `${JSON.stringify(text)}`);
      refused++;
    }
  }
  assert(refused > 1000 && refused < 20_000, `${refused} of 20000 were refused`);
});

Deno.test("a password in a query parameter that does not exist is not repeated", () => {
  const error = assertThrows(() => parseUrls("amqp://u@h?password=Hunter2"), UsageError);
  assert(!error.message.includes("Hunter2"), error.message);
  assertStringIncludes(error.message, "password");
});

Deno.test("a password in a text is noticed, also in the second URL", () => {
  for (
    const text of ["amqp://u:p@h", "amqp://h,amqp://u:p@i", "amqps://:p@h", "amqp://u:p%40@h/v"]
  ) {
    assertEquals(hasPassword(text), true, text);
  }
  for (const text of ["amqp://u@h", "amqp://h:5672", "amqp://u:@h", "amqp://h/v:w@x", "u:p@h"]) {
    assertEquals(hasPassword(text), false, text);
  }
});

Deno.test("an endpoint as a URL gives the same endpoint again", () => {
  for (
    const url of [
      DEFAULT_URL,
      "amqp://us%40er:p%40ss%2Fw%3A%2C%C3%BC@[::1]:1/v%2Fhost?heartbeat=0&name=a%2Cb",
      "amqp://u:@h?channel_max=9&connection_timeout=50&auth_mechanism=external",
      "amqps://u:p@h/?cacertfile=/a%20b&certfile=c&keyfile=k&verify=verify_none" +
      "&server_name_indication=n",
    ]
  ) {
    assertEquals(endpointOf(formatUrl(endpointOf(url))), endpointOf(url), url);
  }
});

Deno.test("what a URL need not say is not in it, for clients that refuse parameters", () => {
  const rows = [
    [DEFAULT_URL, "amqp://guest:guest@localhost:5672"],
    ["amqp://h?heartbeat=30&connection_timeout=0&channel_max=0", "amqp://guest:guest@h:5672"],
    ["amqps://u:p%24%26@[::1]/v", "amqps://u:p%24%26@[::1]:5671/v"],
    ["amqp://h/%2F?heartbeat=0", "amqp://guest:guest@h:5672?heartbeat=0"],
  ] as const;
  for (const [url, written] of rows) assertEquals(formatUrl(endpointOf(url)), written);
});
