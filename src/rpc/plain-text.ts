import { BlockList, isIP } from 'node:net';
import { type TransportSettings, WrongTransport } from '../model/transport.js';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Nobody on another machine is behind this address. A name other than `localhost` may be anybody's. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  const family = isIP(bare);
  if (family === 0) return bare.toLowerCase() === 'localhost';
  return LOOPBACK.check(bare, family === 6 ? 'ipv6' : 'ipv4');
}

/** A server in plain text listens on loopback only, unless told otherwise. Throws WrongTransport. */
export function checkListening(host: string, { tls, allowPlainText }: TransportSettings): void {
  if (tls.cert !== undefined || allowPlainText || isLoopback(host)) return;
  throw new WrongTransport(
    `refusing to serve plain text at ${host}, which other machines can reach: give a certificate ` +
      '(--tls-cert, --tls-key), listen on 127.0.0.1, or say --allow-plain-text',
  );
}
