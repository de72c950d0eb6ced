// The client for fetch, for ES modules in Node, which import by file name.
export default {
  input: process.env.INPUT,
  output: { path: process.env.OUTPUT, module: { extension: ".js" } },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
};
