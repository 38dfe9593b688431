/** Holds answers of an HTTP server against its own OpenAPI document. */
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020, type ValidateFunction } from "ajv/2020";
import { AssertionError } from "@std/assert";

interface Answer {
  readonly description: string;
  readonly headers?: Record<string, unknown>;
  readonly content?: Record<string, { schema?: { $ref?: string } }>;
}

interface Operation {
  readonly responses: Record<string, Answer>;
}

interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, object> };
}

export class OpenApi {
  readonly #document: Document;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });
  readonly #validators = new Map<string, ValidateFunction>();
  /** "POST /tasks 202", of answers that were held against it. */
  readonly seen = new Set<string>();

  private constructor(document: Document) {
    this.#document = document;
    this.#ajv.addSchema({ $id: "doc", components: document.components });
  }

  /** @throws {AssertionError} the validator does not accept the document */
  static async read(document: unknown): Promise<OpenApi> {
    const { valid, errors } = await new Validator().validate(document as Record<string, unknown>);
    if (!valid) throw new AssertionError(`no OpenAPI document: ${JSON.stringify(errors)}`);
    return new OpenApi(document as Document);
  }

  /**
   * @param path without query
   * @throws {AssertionError} the document knows no such answer
   */
  check(method: string, path: string, response: Response, body: string): void {
    const { paths } = this.#document;
    const known = paths[path] !== undefined
      ? path
      : path.startsWith("/tasks/")
      ? "/tasks/{id}"
      : "";
    const operation = paths[known]?.[method.toLowerCase()];
    if (operation === undefined) return; // 404 and 405 of what is not there
    const name = `${method} ${known} ${response.status}`;
    const answer = operation.responses[response.status];
    if (answer === undefined) throw new AssertionError(`the document does not know ${name}`);
    this.seen.add(name);
    for (const header of Object.keys(answer.headers ?? {})) {
      if (header === "Location" && body.startsWith('{"tasks"')) continue;
      if (header === "Preference-Applied" || response.headers.has(header)) continue;
      throw new AssertionError(`${name} has no ${header}`);
    }
    const type = response.headers.get("content-type")!.split(";")[0]!;
    const content = answer.content?.[type];
    if (content === undefined) throw new AssertionError(`the document knows no ${type} of ${name}`);
    if (content.schema?.$ref !== undefined) this.#checkBody(name, content.schema.$ref, body);
  }

  #checkBody(name: string, ref: string, body: string): void {
    let validate = this.#validators.get(ref);
    if (validate === undefined) {
      validate = this.#ajv.compile({ $ref: `doc${ref}` });
      this.#validators.set(ref, validate);
    }
    if (validate(JSON.parse(body))) return;
    throw new AssertionError(
      `${name} is not as described: ${body}\n${JSON.stringify(validate.errors)}`,
    );
  }
}
