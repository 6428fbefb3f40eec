"""What a server holds, before there is one."""
