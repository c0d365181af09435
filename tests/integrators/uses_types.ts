// What an integrator writes with the types that openapi-typescript makes: type-checked, then run, by test_clients.py.
import createClient from "openapi-fetch";
import type { components, paths } from "./evalq";

type JobEvent = components["schemas"]["JobEvent"];

declare const process: { argv: string[] };
const [url, model] = process.argv.slice(2);
type Json = "application/json" | "application/problem+json";
const api = createClient<paths, Json>({ baseUrl: url, headers: { Accept: "application/json" } });
const text = createClient<paths, "text/plain">({ baseUrl: url, headers: { Accept: "text/plain" } });

function check(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

// Each type of event has its own data: the compiler knows which by the type alone.
function told(event: JobEvent): string {
  switch (event.type) {
    case "job.snapshot":
      return event.data.status;
    case "job.progress":
      return `${event.data.percent.toFixed(1)} %`;
    case "job.task_finished":
      return Object.keys(event.data.metrics).join();
    case "job.phase":
      return event.data.phase;
    case "replica.ended":
      return event.data.error?.code ?? event.data.status;
    default:
      // @ts-expect-error: no other event says how far the job is
      event.data.percent;
      return event.type;
  }
}

const body: components["schemas"]["JobIn"] = {
  model: "echo",
  model_args: { pretrained: model, delay_seconds: 0.05 },
  tasks: ["e2e_choice"],
  limit: 6,
};
const posted = await api.POST("/v1/jobs", { body });
check(posted.data && "id" in posted.data, JSON.stringify(posted.error));
const id = posted.data.id;
// @ts-expect-error: a job has no such field
posted.data.progres;

// The stream: its messages are described, and what they carry is an event.
const response = await fetch(`${url}/v1/jobs/${id}/events`, { headers: { Accept: "text/event-stream" } });
const sent = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
const streamed = sent.map((line): JobEvent => JSON.parse(line.slice("data: ".length)));
check(streamed[0].type === "job.snapshot", "a stream begins with the job");
check(streamed.at(-1)?.type === "job.succeeded", streamed.map(told).join(", "));

const path = { job_id: id };
const listed = await api.GET("/v1/jobs/{job_id}/events", { params: { path } });
check(listed.data, "no list");
check(listed.data.data.some((event) => event.type === "job.progress"), "no progress was told");
check(listed.data.data.length + 1 === streamed.length, "the list and the stream tell the same");

const job = await api.GET("/v1/jobs/{job_id}", { params: { path } });
check(job.data?.status === "succeeded", job.data?.reason ?? "there is no job");
const page = await api.GET("/v1/jobs", { params: { query: { fields: "plan", limit: 1 } } });
check(page.data?.data[0].plan?.backend === "echo", "the plan was asked for");
const results = await api.GET("/v1/jobs/{job_id}/results", { params: { path } });
check(JSON.stringify(results.data?.results).includes("e2e_choice"), "no results");
const table = await text.GET("/v1/jobs/{job_id}/results", { params: { path }, parseAs: "text" });
check(table.data?.includes("|e2e_choice|"), "no table");
const logs = await text.GET("/v1/jobs/{job_id}/logs", { params: { path, query: { tail: 5 } }, parseAs: "text" });
check(typeof logs.data === "string", "no log");

const slow = { ...body, model_args: { pretrained: model, delay_seconds: 5 } };
const other = await api.POST("/v1/jobs", { body: slow });
check(other.data && "id" in other.data, "not submitted");
const cancelled = await api.POST("/v1/jobs/cancel", { body: { ids: [other.data.id] } });
check(cancelled.data?.data[0].outcome.startsWith("cancel"), "not cancelled");
// @ts-expect-error: one cancels by ids, or by filters of the list
const wrong: components["schemas"]["CancelIn"] = { id: other.data.id };
const mistaken = await api.POST("/v1/jobs/cancel", { body: wrong });
check(mistaken.error?.code === "invalid_request", "a wrong name cancelled something");

const refused = await api.POST("/v1/jobs", { body: { ...body, tasks: ["e2e_choise"] } });
check(refused.error?.errors.some((fault) => fault.path === "tasks.0"), "faults name where they are");
console.log(`${id} told ${streamed.length} events`);
