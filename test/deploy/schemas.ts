import { readFileSync } from 'node:fs';
import { type ErrorObject, Ajv2020 as JsonSchemas } from 'ajv/dist/2020.js';

/** Says what is wrong with a document, one line each: where, and what. Empty when it is as its schema wants it. */
export type Complaints = (document: unknown) => string[];

// Formats (int32, byte...) are not known to it; keywords of others stand in the schemas.
const schemas = new JsonSchemas({ allErrors: true, strict: false, validateFormats: false });

/** Against the compose specification. */
export function composeComplaints(): Complaints {
  const check = schemas.compile(read('compose/compose-spec.json'));
  return (document) => (check(document) ? [] : told(check.errors));
}

/** Against the Kubernetes API: fields that it does not know are refused too, as `kubectl apply --validate=strict` does. */
export function kubernetesComplaints(): Complaints {
  schemas.addSchema(read('kubernetes/kinds.json'));
  return (document) => {
    const { apiVersion, kind } = document as { apiVersion: string; kind: string };
    const [version, group = 'core'] = apiVersion.split('/').reverse() as [string, string?];
    const name = `io.k8s.api.${group.split('.')[0]}.${version}.${kind}`;
    const check = schemas.getSchema(`kubernetes#/$defs/${name}`);
    if (check === undefined) return [`${apiVersion} ${kind} is not among the kinds of test/deploy/schemas`];
    return check(document) ? [] : told(check.errors);
  };
}

function told(errors: ErrorObject[] | null | undefined): string[] {
  return (errors ?? []).map(({ instancePath, message, params }) => {
    const { additionalProperty, unevaluatedProperty } = params as Readonly<Record<string, string>>;
    const key = additionalProperty ?? unevaluatedProperty;
    return `${instancePath || '/'} ${message}${key === undefined ? '' : `: ${key}`}`;
  });
}

function read(path: string): object {
  return JSON.parse(readFileSync(new URL(`schemas/${path}`, import.meta.url), 'utf8')) as object;
}
