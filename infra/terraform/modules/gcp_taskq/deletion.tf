# What deleting a queue destroys, and a refusal to do so while the queue is protected, as in the module taskq: Pub/Sub has
# no deletion protection of its own. The record depends on everything that serves the queue, and is therefore destroyed
# first: if that is refused, all of it is there.

resource "terraform_data" "queue" {
  for_each = var.declared.subscriptions

  input = {
    protected = var.deletion_protection && !contains(var.unprotected_queues, each.key)
    warning   = "Destroying ${each.value.subscription} and ${each.value.dead_letter_subscription} deletes their messages. Drain them first: taskq drain -Q ${each.key} --to another queue"
  }

  # The message has no character with a meaning for a shell, and both commands work in every shell.
  provisioner "local-exec" {
    when    = destroy
    quiet   = true
    command = self.input.protected ? "echo ${self.input.warning}. Then apply with the queue in unprotected_queues, or with deletion_protection = false. && exit 1" : "exit 0"
  }

  depends_on = [module.queues, module.worker, module.schedules]
}
