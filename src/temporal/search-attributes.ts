import type { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../workflows/search-attributes.js';

const KEYWORD = 2;

/**
 * Makes sure that the namespace has Steward's search attributes with their types. Adding an attribute that is there with
 * another type is silently accepted by the server, so they are listed and compared. Throws an Error that says what to do.
 */
export async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  const { operatorService } = connection;
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  const { missing, wrong } = compareSearchAttributes(customAttributes);
  if (wrong.length > 0) {
    throw new Error(
      `search attributes ${wrong.join(', ')} of namespace ${namespace} must be of type Keyword: remove them first`,
    );
  }
  if (missing.length === 0) return;
  await operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
  });
}

/** Names of Steward's search attributes that are not there, or are of another type. */
export function compareSearchAttributes(found: Readonly<Record<string, unknown>>): {
  readonly missing: readonly string[];
  readonly wrong: readonly string[];
} {
  const names = SEARCH_ATTRIBUTES.map(({ name }) => name);
  return {
    missing: names.filter((name) => !(name in found)),
    wrong: names.filter((name) => name in found && found[name] !== KEYWORD),
  };
}
