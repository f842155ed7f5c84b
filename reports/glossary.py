"""The words of a report, each in one sentence, for whoever opens one without having read anything else."""

GLOSSARY: dict[str, str] = {
    "strategy": "A rule that decides which numbers of a model may change in fine-tuning.",
    "cell": "One point of the matrix: model, task, strategy, seed and settings, or model, strategy and batch shape.",
    "encoder, head": "The head is the layers newly initialised for the task and is trained in full under every "
    "strategy; the encoder is the rest. Shares of trained parameters are of the encoder.",
    "headline score": "The metric a task is judged by, on its evaluation split, which no decision ever saw. Points "
    "are hundredths: an accuracy of 0.894 is 89.4 points.",
    "selection score": "The same metric on a split cut from the training data, by which settings are chosen.",
    "paired difference": "Mean over seeds of a strategy's score minus full fine-tuning's with the same seed, which "
    "gives both the same data order and the same head to begin with.",
    "interval": "A 95% Student t interval. With 3 seeds it reaches 2.5 standard deviations either way, so only large "
    "or steady differences are decided.",
    "undecided": "The interval includes the value of no difference, or there is none: it takes more seeds or rounds.",
    "gap": "Generalization gap: how far the headline score on a sample of the training data is ahead of the "
    "evaluation score, both in evaluation mode, on samples of equal size.",
    "extra set": "A further labelled set of a task, of another domain or made as a diagnostic. It is scored once at "
    "the end and decides nothing.",
    "gap to an extra set": "How far the score on the evaluation split is ahead of that on the extra set, in the "
    "metric the set is judged by: how much is lost outside the domain trained on.",
    "crossover": "The number of training examples at which a strategy and full fine-tuning change places: where the "
    "mean paired difference, drawn over the logarithm of the size, changes its sign. Its interval comes from means "
    "resampled with allowance for few seeds.",
    "bias change": "How far training moved a bias, on average over its values and without regard to sign.",
    "step": "Forward, backward, clipping, optimizer and zero-grad on one batch of fixed shape.",
    "phase of a step": "Forward (loss included), backward (a strategy's penalty and hook included), clipping, or "
    "optimizer (zero-grad included).",
    "step time of full's": "Median step time divided by that of full fine-tuning in the same round; the geometric "
    "mean over rounds. Ratios are comparable between machines, seconds are not.",
    "noise floor": "How far full fine-tuning timed a second time may lie from itself, at the far end of its interval. "
    "No smaller difference in step time is called one.",
    "below the noise": "The ratio lies within the noise floor, even where its interval leaves out 1: the interval "
    "says how well the rounds of one run agree, the noise floor how far apart two timings of the same thing came out. "
    "Only a ratio beyond both is called faster or slower.",
    "peak memory": "The most memory one training step holds, measured apart from time: the allocator's peak on an "
    "accelerator, the bytes of live tensors on a CPU.",
    "file": "The delta: what fine-tuning changed, head included, as one safetensors file.",
    "swap": "Change of task on an encoder in memory: one delta taken off, another put on.",
    "Pareto front": "The strategies that no other beats in score without costing more. It does not weigh intervals.",
}
