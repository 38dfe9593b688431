/** A web application of the test's own process, which answers as it is told. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";

/** A request that came in whole. */
export interface AppRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Uint8Array;
  /** Which connection of the server it came on; 1 for the first. */
  readonly connection: number;
}

export type Respond = (request: AppRequest, response: ServerResponse) => void;

export interface WebAppOptions {
  /** A unix socket to listen on. */
  readonly socket?: string;
  /** Options of node:https; absent: plain HTTP. */
  readonly tls?: ServerOptions;
}

export class WebApp implements AsyncDisposable {
  readonly requests: AppRequest[] = [];
  readonly #server: Server;
  #connections = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Starts it; a free port of 127.0.0.1 unless told otherwise. */
  static async start(respond: Respond, { socket, tls }: WebAppOptions = {}): Promise<WebApp> {
    const numbers = new WeakMap<object, number>();
    const listener = (incoming: IncomingMessage, response: ServerResponse) => {
      const chunks: Uint8Array[] = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("end", () => {
        const number = numbers.get(incoming.socket) ?? ++app.#connections;
        numbers.set(incoming.socket, number);
        const request = {
          url: incoming.url!,
          method: incoming.method!,
          headers: incoming.headers,
          body: new Uint8Array(chunks.flatMap((chunk) => [...chunk])),
          connection: number,
        };
        app.requests.push(request);
        respond(request, response);
      });
    };
    const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
    const app = new WebApp(server as Server);
    await new Promise<void>((resolve) => {
      if (socket === undefined) server.listen(0, "127.0.0.1", resolve);
      else server.listen(socket, resolve);
    });
    return app;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
