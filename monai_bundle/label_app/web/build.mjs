// npm ci --ignore-scripts && npm run check && npm run build: src to dist, which is committed, so that users need no Node.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.env.CASR_DIST ?? here("dist");
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: here("src/main.ts") },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  charset: "utf8",
});
await copyFile(here("src/app.css"), `${out}/app.css`);
await copyFile(here("src/index.html"), `${out}/index.html`);

// MONAI Label's page of requests takes Swagger UI from the internet; here it comes from the server.
await mkdir(`${out}/swagger`);
for (const name of ["swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"]) {
  await copyFile(here(`node_modules/swagger-ui-dist/${name}`), `${out}/swagger/${name}`);
}
await copyFile(here("src/swagger.js"), `${out}/swagger/start.js`);
await copyFile(here("src/api.html"), `${out}/swagger/index.html`);

// OHIF takes its font from the internet as well.
await mkdir(`${out}/ohif`);
const inter = "node_modules/@fontsource-variable/inter";
await copyFile(here(`${inter}/files/inter-latin-wght-normal.woff2`), `${out}/ohif/inter.woff2`);
await copyFile(here(`${inter}/LICENSE`), `${out}/ohif/LICENSE`);
