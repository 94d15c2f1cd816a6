# What deleting a queue destroys, and a refusal to do so while the queue is protected.
#
# Terraform deletes a queue that is dropped from the declaration, renamed, or made anew with or without `.fifo`, and all of
# its messages with it. The plan shows the destruction of the record below, with its warning. The record depends on
# everything that serves or watches the queue, and is therefore destroyed first: if that is refused, all of it is there.

locals {
  protected = { for key in keys(var.declared.queues) : key => var.deletion_protection && !contains(var.unprotected_queues, key) }
}

resource "terraform_data" "queue" {
  for_each = var.declared.queues

  input = {
    protected = local.protected[each.key]
    warning   = "Destroying ${each.value.name} and ${each.value.dead_letter_queue_name} deletes their messages. Drain them first: taskq drain -Q ${each.key}"
  }

  # The message has no character with a meaning for a shell, and both commands work in every shell.
  provisioner "local-exec" {
    when    = destroy
    quiet   = true
    command = self.input.protected ? "echo ${self.input.warning}. Then apply with the queue in unprotected_queues, or with deletion_protection = false. && exit 1" : "exit 0"
  }

  depends_on = [module.queue, module.function, module.service, module.schedules, module.observability]
}
