import { Code, ConnectError } from '@connectrpc/connect';

/** What Node.js and OpenSSL call the ways in which two ends do not come to trust each other. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself: STEWARD_TLS_CA must name its CA',
  SELF_SIGNED_CERT_IN_CHAIN:
    'its certificate is of a CA that is not believed here: STEWARD_TLS_CA must name its CA',
  UNABLE_TO_GET_ISSUER_CERT:
    'its certificate is of a CA that is not believed here: STEWARD_TLS_CA must name its CA',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate is of a CA that is not believed here: STEWARD_TLS_CA must name its CA',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate is of a CA that is not believed here: STEWARD_TLS_CA must name its CA',
  CERT_SIGNATURE_FAILURE: 'its certificate is not of the CA that is believed here, although of the same name',
  INVALID_PURPOSE: 'its certificate is not one for a server',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it speaks plain text: its URL must begin with http://',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it speaks plain text: its URL must begin with http://',
};

/**
 * A certificate or TLS error as UNAUTHENTICATED with a message that names the cause; anything else as it is. Nothing is
 * known then of what the call asked for (I1).
 */
export function explainTrust(error: unknown, url: string): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (typeof code !== 'string') continue;
    const reason = REASONS[code] ?? (code.startsWith('ERR_SSL_') ? 'the TLS handshake failed' : undefined);
    if (reason !== undefined)
      return new ConnectError(
        `${url} is not trusted: ${reason} (${code})`,
        Code.Unauthenticated,
        {},
        [],
        error,
      );
  }
  return error;
}
