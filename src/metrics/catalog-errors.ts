import { Counter } from 'prom-client';
import { registry } from './registry.js';

const errors = new Counter({
  name: 'steward_catalog_errors_total',
  help: "Statements to the catalog that failed, by PostgreSQL's SQLSTATE, or connection when there was no answer",
  labelNames: ['code'],
  registers: [registry],
});

const SQLSTATE = /^[0-9A-Z]{5}$/;

export function countCatalogError(error: unknown): void {
  const code = (error as { readonly code?: unknown } | null)?.code;
  errors.inc({ code: typeof code === 'string' && SQLSTATE.test(code) ? code : 'connection' });
}
