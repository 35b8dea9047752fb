// The error that ends a deployment.

/** Ends the deployment with an exit code and a message for the operator. */
export class DeployError extends Error {
  /** @param {1 | 2} code exit code: 1 a step failed, 2 nothing was deployed @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
