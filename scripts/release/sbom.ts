/** What the binary is made of, as CycloneDX (https://cyclonedx.org) has it. */
import { Buffer } from "node:buffer";
import { shell } from "./shell.ts";

export interface Made {
  readonly version: string;
  readonly target: string;
  /** Of the runtime in the binary. */
  readonly deno: string;
  /** Seconds since 1970. */
  readonly date: number;
}

/** Names the npm packages of the program, and of the page that it serves. */
export async function sbom({ version, target, deno, date }: Made): Promise<string> {
  const { packages, served } = await packagesOf("src/workqueue.ts");
  const { npm } = JSON.parse(await Deno.readTextFile("deno.lock")) as {
    npm: Record<string, { integrity?: string }>;
  };
  const components = packages.map((id) => {
    const [, name, number] = /^(@?[^@]+)@([^_]+)/.exec(id)!;
    const [, algorithm, hash] = /^(sha\d+)-(.*)$/.exec(npm[id]?.integrity ?? "") ?? [];
    return {
      type: "library",
      "bom-ref": purl(name!, number!),
      ...splitScope(name!),
      version: number!,
      purl: purl(name!, number!),
      ...(hash === undefined ? {} : {
        hashes: [{
          alg: `${algorithm!.replace("sha", "SHA-")}`,
          content: Buffer.from(hash!, "base64").toString("hex"),
        }],
      }),
      ...(served.has(id) ? { description: "in the page that the broker serves" } : {}),
    };
  });
  const runtime = {
    type: "framework",
    "bom-ref": `pkg:github/denoland/deno@v${deno}`,
    name: "deno",
    version: deno,
    purl: `pkg:github/denoland/deno@v${deno}`,
    licenses: [{ license: { id: "MIT" } }],
  };
  const root = `workqueue@${version}`;
  const all = [runtime, ...components];
  return JSON.stringify(
    {
      $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
      bomFormat: "CycloneDX",
      specVersion: "1.5",
      version: 1,
      metadata: {
        timestamp: new Date(date * 1_000).toISOString(),
        component: {
          type: "application",
          "bom-ref": root,
          name: "workqueue",
          version,
          licenses: [{ license: { id: "MIT" } }],
          properties: [{ name: "target", value: target }],
        },
      },
      components: all,
      dependencies: [{ ref: root, dependsOn: all.map((component) => component["bom-ref"]) }],
    },
    null,
    2,
  ) + "\n";
}

/** npm packages that a program imports, and those of the page, as deno.lock names them. */
async function packagesOf(entry: string): Promise<{ packages: string[]; served: Set<string> }> {
  const [own, page] = await Promise.all([
    importsOf(entry),
    importsOf("src/web/client/main.tsx"),
  ]);
  const served = new Set(page.filter((id) => !own.includes(id)));
  return { packages: [...own, ...served].sort(), served };
}

interface Info {
  modules: { kind?: string; npmPackage?: string }[];
  npmPackages: Record<string, { dependencies: string[] }>;
}

async function importsOf(entry: string): Promise<string[]> {
  const info = JSON.parse(await shell(Deno.execPath(), ["info", "--json", entry])) as Info;
  const found = new Set<string>();
  const add = (id: string): void => {
    if (found.has(id)) return;
    found.add(id);
    info.npmPackages[id]?.dependencies.forEach(add);
  };
  for (const { npmPackage } of info.modules) if (npmPackage !== undefined) add(npmPackage);
  return [...found];
}

function splitScope(name: string): { group?: string; name: string } {
  const [, group, rest] = /^(@[^/]+)\/(.*)$/.exec(name) ?? [];
  return group === undefined ? { name } : { group, name: rest! };
}

function purl(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}
