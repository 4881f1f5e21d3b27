#!/usr/bin/env Rscript
# A kept-alive action in R: cluster_worker --keep-alive -q QUEUE keepalive.r. Prints the mean of each message's numbers.
# What takes long (library(), a model) stands above `ready` and happens once.

verdicts <- file("/dev/fd/3", "w", raw = TRUE)
results <- file("/dev/fd/1", "wb", raw = TRUE)
answer <- function(...) {
  cat(gsub("[[:space:]]+", " ", paste(...)), "\n", sep = "", file = verdicts)
  flush(verdicts)
}

# The result as text; what work() itself prints (cat, print) would not be counted.
work <- function(body) {
  numbers <- scan(text = body, quiet = TRUE)
  if (length(numbers) == 0) stop("there is no number in it")
  paste("mean", mean(numbers))
}

done <- function(result) {
  bytes <- charToRaw(paste0(result, "\n"))
  writeBin(bytes, results)
  flush(results)
  paste("ok", length(bytes))
}

messages <- file("stdin", "r")
answer("ready 1")
while (length(body <- readLines(messages, n = 1)) > 0) {
  answer(tryCatch(done(work(body)), error = function(e) paste("reject", conditionMessage(e))))
}
