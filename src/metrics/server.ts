import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics } from 'prom-client';
import { addressOf, type ListenAddress } from '../model/listen-address.js';
import { registry } from './registry.js';

export interface MetricsServer {
  /** Of the page that Prometheus reads. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves what this process counts under `/metrics`, for Prometheus.
 *
 * @param refresh brings up to date, before each page, what is not counted as it happens
 */
export async function serveMetrics(
  { host, port }: ListenAddress,
  refresh: () => Promise<void> = () => Promise.resolve(),
): Promise<MetricsServer> {
  collectDefaultMetrics({ register: registry });
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end('see /metrics\n');
      return;
    }
    const made = refresh().then(() => registry.metrics());
    made.then(
      (page) => response.writeHead(200, { 'content-type': registry.contentType }).end(page),
      (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
    );
  });
  await listening(server, host, port);
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${addressOf({ host, port: bound })}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}
