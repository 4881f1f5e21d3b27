#!/usr/bin/env Rscript
# A kept-alive action in R: cluster_worker --keep-alive -q QUEUE keepalive.r. Prints the mean of each message's numbers.
# What takes long (library(), a model) stands above `ready` and happens once.

verdicts <- file("/dev/fd/3", "w", raw = TRUE)
answer <- function(...) {
  cat(gsub("[[:space:]]+", " ", paste(...)), "\n", sep = "", file = verdicts)
  flush(verdicts)
}

work <- function(body) {
  numbers <- scan(text = body, quiet = TRUE)
  if (length(numbers) == 0) stop("there is no number in it")
  cat("mean", mean(numbers), "\n")
}

messages <- file("stdin", "r")
answer("ready 1")
while (length(body <- readLines(messages, n = 1)) > 0) {
  answer(tryCatch({ work(body); "ok" }, error = function(e) paste("reject", conditionMessage(e))))
}
