import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { CatalogService } from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { StewardError } from './errors.js';

const DEADLINE_MS = 10_000;

/** The coordinator as the client asks it: one connection, made at the first question. */
export class Coordinator {
  readonly #session: Http2SessionManager;
  readonly #catalog: Client<typeof CatalogService>;
  readonly #name: string;

  /** @throws StewardError INVALID_INPUT when the URL is none */
  constructor(url: string) {
    const base = URL.canParse(url) ? new URL(url) : undefined;
    if (base?.protocol !== 'http:' && base?.protocol !== 'https:') {
      throw new StewardError(
        'INVALID_INPUT',
        `coordinatorUrl: expected a URL like http://127.0.0.1:7400, got ${url}`,
        {
          details: { field: 'coordinatorUrl' },
        },
      );
    }
    this.#name = `the coordinator at ${url}`;
    this.#session = new Http2SessionManager(url);
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: '2',
      sessionManager: this.#session,
      defaultTimeoutMs: DEADLINE_MS,
      useBinaryFormat: true,
    });
    this.#catalog = createClient(CatalogService, transport);
  }

  /** Asks; what fails becomes a StewardError. */
  async ask<T>(question: (catalog: Client<typeof CatalogService>) => Promise<T>): Promise<T> {
    try {
      return await question(this.#catalog);
    } catch (error) {
      throw StewardError.from(error, this.#name);
    }
  }

  close(): void {
    this.#session.abort();
  }
}
