"""Pure knowledge of lm-eval and of model folders: arguments, tasks, command lines. Imports no lm_eval."""
