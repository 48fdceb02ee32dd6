/** Where a server listens. */
export interface ListenAddress {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
}

const FORM = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/;
const MAX_PORT = 65_535;

/** Reads `host:port`, an IPv6 address in brackets; undefined for anything else. */
export function readListenAddress(text: string): ListenAddress | undefined {
  const [, ipv6, name, port] = FORM.exec(text) ?? [];
  const host = ipv6 ?? name;
  if (host === undefined || Number(port) > MAX_PORT) return undefined;
  return { host, port: Number(port) };
}

/** As it stands in a URL. */
export function addressOf({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
