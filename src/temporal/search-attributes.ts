import { type Connection, isGrpcServiceError } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../workflows/search-attributes.js';

const KEYWORD = 2;
/** PERMISSION_DENIED, UNIMPLEMENTED (a service that has other ways to add them), UNAUTHENTICATED. */
const NOT_ALLOWED: readonly number[] = [7, 12, 16];

/**
 * Makes sure that the namespace has Steward's search attributes with their types. Adding an attribute that is there with
 * another type is silently accepted by the server, so they are listed and compared. Answers those that were missing. Adding
 * needs more rights than all else that Steward does: without them they are made by whoever has them. Throws an Error that
 * says what to do.
 */
export async function ensureSearchAttributes(
  connection: Connection,
  namespace: string,
): Promise<readonly string[]> {
  const { operatorService } = connection;
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  const { missing, wrong } = compareSearchAttributes(customAttributes);
  if (wrong.length > 0) {
    throw new Error(
      `search attributes ${wrong.join(', ')} of namespace ${namespace} must be of type Keyword: remove them first`,
    );
  }
  if (missing.length === 0) return [];
  try {
    await operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
    });
  } catch (cause) {
    if (!isGrpcServiceError(cause) || !NOT_ALLOWED.includes(cause.code)) throw cause;
    throw new Error(
      `search attributes ${missing.join(', ')} are missing, and this identity may not add them (${cause.details}): have ` +
        `somebody run: ${missing.map((name) => addingCommand(namespace, name)).join(' && ')}`,
      { cause },
    );
  }
  return missing;
}

function addingCommand(namespace: string, name: string): string {
  return `temporal operator search-attribute create --namespace ${namespace} --type Keyword --name ${name}`;
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
