#!/usr/bin/env Rscript
# A simulation for one line of examples/params.csv, `mc.r ALPHA N`: the mean of N draws of u^ALPHA, with u between 0 and 1,
# which should come near 1 / (1 + ALPHA). It prints its result; ./inv map collects it.
words <- commandArgs(trailingOnly = TRUE)
alpha <- suppressWarnings(as.numeric(words[1]))
n <- as.integer(words[2])
if (is.na(alpha)) {
  message("alpha is no number: ", words[1])
  quit(status = 65)   # no further try can help
}
set.seed(as.integer(Sys.getenv("AMQP_ITEM", "1")))   # the line's number: the same each time it is tried
cat(mean(runif(n)^alpha), "\n", sep = "")
