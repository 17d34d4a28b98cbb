"""What people see and say: approvals, notifications, chat commands, Slack."""
