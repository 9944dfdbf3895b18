begin immediate;
-- Outcomes of pure steps: true forever, wherever they were made.
create table if not exists records (
  key text primary key, step text not null, facts text not null,
  evidence text not null, made text not null
) without rowid;
-- The current outcome of each effect step.
create table if not exists rows (
  environment text not null, step text not null, key text not null, facts text not null,
  evidence text not null, made text not null, primary key (environment, step)
) without rowid;
-- What each step's inputs were when it was last applied.
create table if not exists applied (
  environment text not null, step text not null, fingerprint text not null,
  primary key (environment, step)
) without rowid;
create table if not exists runs (
  id integer primary key autoincrement, environment text not null, command text not null,
  started text not null, finished text, outcome text
);
-- Written before a step runs, and again when it ends.
create table if not exists attempts (
  run integer not null, environment text not null, step text not null, key text not null,
  outcome text not null, started text not null, seconds real, log text not null,
  primary key (run, step)
) without rowid;
create index if not exists attempts_by_step on attempts (environment, step, run);
-- Hashes of files that have not changed since.
create table if not exists files (
  path text primary key, stamp text not null, sha256 text not null
) without rowid;
pragma user_version = 1;
commit;
