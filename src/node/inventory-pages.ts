import { Code, ConnectError } from '@connectrpc/connect';

const MAX_PAGE = 1000;

/** How many a page holds; throws INVALID_ARGUMENT. */
export function pageSize(asked: number): number {
  if (asked <= MAX_PAGE) return asked === 0 ? MAX_PAGE : asked;
  throw new ConnectError(`page_size ${asked}: 1 to ${MAX_PAGE}, or 0 for ${MAX_PAGE}`, Code.InvalidArgument);
}

export function invalidToken(token: string): ConnectError {
  const shown = JSON.stringify(token.slice(0, 100));
  return new ConnectError(`page_token ${shown} is not the next_page_token of a page`, Code.InvalidArgument);
}
