#!/usr/bin/env Rscript
# A kept-alive action in R: cluster_worker --keep-alive -q QUEUE keepalive.r. Prints the mean of each message's numbers.
source(sub("--file=(.*/)?.*", "\\1cluster_action.r", gsub("~+~", " ", commandArgs()[4], fixed = TRUE)))

# What takes long (library(), a model) stands here and happens once.
keep_alive(function(text) {
  numbers <- tryCatch(scan(text = text, quiet = TRUE), error = bad_input)
  if (length(numbers) == 0) bad_input("there is no number in it")
  paste("mean", mean(numbers))
})
