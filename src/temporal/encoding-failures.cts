import common = require('@temporalio/common');

/**
 * Failures whose message and stack trace stand in a payload, so that they are encrypted as every payload is. Loaded by path, as
 * Temporal's SDK does it: into the bundle of the workflows, and by `require` into the worker.
 */
const failureConverter = new common.DefaultFailureConverter({ encodeCommonAttributes: true });

export = { failureConverter };
